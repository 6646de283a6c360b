//! The flow table, by socket cookie: what a flow is for, and what was learned of it.

mod names;
mod order;

use std::collections::HashMap;
use std::net::SocketAddr;

pub use names::Names;
pub use order::Order;
use serde::{Deserialize, Serialize};

use crate::decode::client_hello::{ClientHello, client_hello};
use crate::decode::http::BrokenReason;
use crate::decode::{Outcome, quic};
use crate::event::{FlowInfo, Handle, Shape};

/// Flows kept; only flows that sent TLS, QUIC or HTTP, and have not been found to go elsewhere, are here.
pub const MAX_FLOWS: usize = 16_384;
/// Payload taken of a flow, bytes; kept only while its ClientHello is not whole.
const MAX_PAYLOAD: usize = 16 << 10;

/// How a host name is known, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostEvidence {
    /// Server name of the ClientHello (RFC 6066 3).
    Sni,
    /// `Host` of an HTTP request.
    HttpHost,
    /// The only name that this cgroup's DNS answers gave the address.
    Dns,
    /// The user configured the address.
    Configured,
    /// A request that a self-hosted server takes went to the port it usually has, on this host or a private network.
    UsualPort,
}

impl HostEvidence {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sni => "sni",
            Self::HttpHost => "http_host",
            Self::Dns => "dns",
            Self::Configured => "configured",
            Self::UsualPort => "usual_port",
        }
    }
}

/// A host name with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The name.
    pub name: String,
    /// How it is known.
    pub evidence: HostEvidence,
}

/// Whether a flow goes to a model endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// Not known yet.
    #[default]
    Pending,
    /// Yes.
    Model,
    /// No.
    Other,
}

/// One flow.
#[derive(Debug)]
pub struct Flow {
    /// Kernel's view.
    pub info: FlowInfo,
    /// What its payload looks like.
    pub shape: Option<Shape>,
    /// Best known host.
    pub host: Option<Host>,
    /// The name of its address, when DNS gave `host` other addresses.
    pub dns_host: Option<String>,
    /// Provider id.
    pub provider: Option<String>,
    /// Where it goes.
    pub verdict: Verdict,
    /// What the client said in its hello.
    pub hello: Option<ClientHello>,
    /// Calls seen on it.
    pub calls: u64,
    /// Plaintext was read.
    pub plaintext: bool,
    /// What read it.
    pub probe: Option<u32>,
    /// Why the rest of its plaintext cannot be read, if so.
    pub lost: Option<BrokenReason>,
    /// Its first credential, for the flow record.
    pub credential: Option<proto::v1::Credential>,
    /// Open before the sensor started.
    pub pre_existing: bool,
    /// An HTTP CONNECT went before: the tunnel's own end is elsewhere.
    pub tunnel: bool,
    /// Last sign of life, nanoseconds.
    pub last_ns: u64,
    /// Cleartext requests and answers on their way into order.
    pub orders: [Order; 2],
    position: usize,
    read: bool,
    buffer: Vec<u8>,
}

impl Flow {
    /// A flow of which nothing but the kernel's view is known.
    pub fn new(info: FlowInfo) -> Self {
        Self {
            info,
            shape: None,
            host: None,
            dns_host: None,
            provider: None,
            verdict: Verdict::Pending,
            hello: None,
            calls: 0,
            plaintext: false,
            probe: None,
            lost: None,
            credential: None,
            pre_existing: false,
            tunnel: false,
            last_ns: 0,
            orders: Default::default(),
            position: 0,
            read: false,
            buffer: Vec::new(),
        }
    }

    /// Name of the flow in records.
    pub fn id(&self) -> String {
        id(self.info.cookie)
    }

    /// Local end, as known.
    pub fn local(&self) -> Option<SocketAddr> {
        self.info.local
    }

    /// The TLS connection that its ClientHello named.
    pub fn connection(&self) -> Option<Handle> {
        self.hello.as_ref().and_then(|hello| hello.random.get(..16)?.try_into().ok())
    }

    /// Takes a part of the first payload; false when it does not continue what came before, or there is
    /// too much of it. Only a ClientHello is kept: a cleartext request may hold a key.
    pub fn extend(&mut self, shape: Shape, offset: u32, bytes: &[u8]) -> bool {
        if offset == 0 {
            self.done();
            (self.shape, self.position, self.read) = (Some(shape), 0, false);
        }
        if self.position != offset as usize || bytes.len() > MAX_PAYLOAD - self.position.min(MAX_PAYLOAD) {
            return false;
        }
        self.position += bytes.len();
        if matches!(shape, Shape::Tls | Shape::Quic) && !self.read {
            self.buffer.extend_from_slice(bytes);
        }
        true
    }

    /// Gives the first payload back; nothing more of it is read.
    pub fn done(&mut self) {
        self.read = true;
        self.buffer = Vec::new();
    }

    /// The ClientHello in the payload so far.
    pub fn read_hello(&self) -> Outcome<ClientHello> {
        match self.shape {
            Some(Shape::Quic) => quic::client_hello(&self.buffer),
            _ => client_hello(&self.buffer),
        }
    }
}

/// Name in records of the flow with this socket cookie.
pub fn id(cookie: u64) -> String {
    format!("{cookie:x}")
}

/// All flows of interest.
#[derive(Debug, Default)]
pub struct FlowTable {
    flows: HashMap<u64, Flow>,
    /// Flows not kept because the table was full.
    pub refused: u64,
}

impl FlowTable {
    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The flow, made from the kernel's view when new; `None` when the table is full.
    pub fn get_or_add(&mut self, info: &FlowInfo) -> Option<&mut Flow> {
        if !self.flows.contains_key(&info.cookie) && self.flows.len() >= MAX_FLOWS {
            self.refused += 1;
            return None;
        }
        let flow = self.flows.entry(info.cookie).or_insert_with(|| Flow::new(info.clone()));
        if flow.info.local.is_none() {
            flow.info.local = info.local;
        }
        Some(flow)
    }

    /// A known flow.
    pub fn get(&self, cookie: u64) -> Option<&Flow> {
        self.flows.get(&cookie)
    }

    /// A known flow, to change.
    pub fn get_mut(&mut self, cookie: u64) -> Option<&mut Flow> {
        self.flows.get_mut(&cookie)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, cookie: u64) -> Option<Flow> {
        self.flows.remove(&cookie)
    }

    /// Cookies of the flows that fit, in order.
    pub fn select(&self, fits: impl Fn(&Flow) -> bool) -> Vec<u64> {
        let mut found: Vec<u64> =
            self.flows.values().filter(|flow| fits(flow)).map(|flow| flow.info.cookie).collect();
        found.sort_unstable();
        found
    }

    /// Takes all flows out, in order of their cookies.
    pub fn drain(&mut self) -> Vec<Flow> {
        let mut flows: Vec<_> = self.flows.drain().map(|(_, flow)| flow).collect();
        flows.sort_by_key(|flow| flow.info.cookie);
        flows
    }
}
