//! One client connection: its HTTP exchanges and the calls among them.

use std::net::SocketAddr;

use super::{Call, Finished, Toolkit};
use crate::decode::http1::{Event, Exchanges, Side};
use crate::event::{Direction, Task};
use crate::flow::{Host, HostEvidence};

/// Calls under way on one connection (HTTP pipelining); more are not followed.
const MAX_CALLS: usize = 64;

/// What is known of where a connection goes before its first request is read.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Host by SNI, DNS or configuration.
    pub host: Option<Host>,
    /// Remote end, when bound to a flow.
    pub remote: Option<SocketAddr>,
}

/// A connection whose plaintext is read.
pub struct Connection {
    /// Socket cookie, 0 when unbound.
    pub cookie: u64,
    /// Why it is unbound, if so.
    pub unbound_reason: &'static str,
    /// Last activity, nanoseconds.
    pub last_ns: u64,
    /// Whether a request was seen, and whether any went to a model endpoint.
    pub requests: Option<bool>,
    /// Host and provider that the requests told.
    pub told: Option<(Host, String)>,
    route: Route,
    exchanges: Exchanges,
    calls: Vec<Call>,
    position: [u64; 2],
    expected: [u32; 2],
}

impl Connection {
    /// A connection of which nothing was read.
    pub fn new(cookie: u64, unbound_reason: &'static str, route: Route) -> Self {
        Self {
            cookie,
            unbound_reason,
            last_ns: 0,
            requests: None,
            told: None,
            route,
            exchanges: Exchanges::new(),
            calls: Vec::new(),
            position: [0; 2],
            expected: [0; 2],
        }
    }

    /// Calls that have not ended.
    pub fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// Takes a part of a read or write: `bytes` at `offset` of `total`. Parts that were lost or never
    /// copied become gaps.
    #[expect(clippy::too_many_arguments, reason = "one call a kernel event, each field used once")]
    pub fn data(
        &mut self,
        kit: &Toolkit,
        task: &Task,
        direction: Direction,
        offset: u32,
        total: u32,
        bytes: &[u8],
        now_ns: u64,
        out: &mut Vec<Finished>,
    ) {
        self.last_ns = now_ns;
        let side = usize::from(direction == Direction::Read);
        if offset == 0 {
            // The rest of the call before was over the copy limit.
            self.gap(kit, task, direction, self.expected[side], now_ns, out);
            self.expected[side] = total;
        }
        let missing = offset.saturating_sub(total.saturating_sub(self.expected[side]));
        self.gap(kit, task, direction, missing, now_ns, out);
        self.expected[side] = total.saturating_sub(offset).saturating_sub(bytes.len() as u32);
        self.position[side] += bytes.len() as u64;
        let Self { exchanges, calls, route, requests, told, .. } = self;
        let mut reading = Reading { kit, task, route, calls, requests, told, out };
        let mut sink = |event: Event<'_>| reading.event(event);
        match direction {
            Direction::Write => exchanges.request_bytes(bytes, now_ns, &mut sink),
            Direction::Read => exchanges.response_bytes(bytes, now_ns, &mut sink),
        }
    }

    fn gap(
        &mut self,
        kit: &Toolkit,
        task: &Task,
        direction: Direction,
        missing: u32,
        now_ns: u64,
        out: &mut Vec<Finished>,
    ) {
        if missing == 0 {
            return;
        }
        let Self { exchanges, calls, route, requests, told, .. } = self;
        let mut reading = Reading { kit, task, route, calls, requests, told, out };
        let mut sink = |event: Event<'_>| reading.event(event);
        match direction {
            Direction::Write => exchanges.request_gap(u64::from(missing), now_ns, &mut sink),
            Direction::Read => exchanges.response_gap(u64::from(missing), now_ns, &mut sink),
        }
    }

    /// The connection is over; `reason` is told of calls that were not.
    pub fn close(&mut self, kit: &Toolkit, now_ns: u64, reason: &str, out: &mut Vec<Finished>) {
        let task = Task::default();
        let Self { exchanges, calls, route, requests, told, .. } = self;
        let mut reading = Reading { kit, task: &task, route, calls, requests, told, out };
        exchanges.closed(now_ns, &mut |event: Event<'_>| reading.event(event));
        out.extend(self.calls.drain(..).map(|call| call.finish(now_ns, Some(reason))));
    }
}

/// One pass of the HTTP reader over new bytes.
struct Reading<'a> {
    kit: &'a Toolkit,
    task: &'a Task,
    route: &'a Route,
    calls: &'a mut Vec<Call>,
    requests: &'a mut Option<bool>,
    told: &'a mut Option<(Host, String)>,
    out: &'a mut Vec<Finished>,
}

impl Reading<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::RequestHead { id, at_ns, method, target, headers } => {
                let header = |name: &str| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
                let host = match &self.route.host {
                    Some(host) if host.evidence == HostEvidence::Sni => Some(host.clone()),
                    known => header("host")
                        .and_then(crate::endpoint::normalise)
                        .map(|name| Host { name: name.into(), evidence: HostEvidence::HttpHost })
                        .or_else(|| known.clone()),
                };
                let call = Call::begin(self.kit, self.task, host, self.route.remote, id, at_ns, method, target, header);
                *self.requests = Some(self.requests.unwrap_or(false) || call.is_some());
                if let Some(call) = call {
                    *self.told = call.destination();
                    if self.calls.len() < MAX_CALLS {
                        self.calls.push(call);
                    }
                }
            }
            Event::RequestBody { id, bytes } => {
                if let Some(call) = self.call(id) {
                    call.request_body(bytes);
                }
            }
            Event::ResponseHead { id, at_ns, status, headers } => {
                let kit = self.kit;
                let header = |name: &str| headers.get(name).and_then(|value| std::str::from_utf8(value).ok());
                if let Some(call) = self.call(id) {
                    call.response_head(kit, at_ns, status, header);
                }
            }
            Event::ResponseBody { id, bytes } => {
                if let Some(call) = self.call(id) {
                    call.response_body(bytes);
                }
            }
            Event::ResponseBodyGap { id, .. } => {
                if let Some(call) = self.call(id) {
                    call.response_gap();
                }
            }
            Event::ResponseEnd { id, at_ns } => self.end(id, at_ns, None),
            Event::Upgraded { id } => {
                self.end(id, 0, Some("the connection changed to another protocol, which is not read"));
            }
            Event::Broken { id: Some(id), side: Side::Response, reason } => {
                self.end(id, 0, Some(&reason.to_string()));
            }
            Event::RequestBodyGap { .. } | Event::RequestEnd { .. } | Event::Broken { .. } => {}
        }
    }

    fn call(&mut self, id: u64) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.id() == id)
    }

    fn end(&mut self, id: u64, at_ns: u64, reason: Option<&str>) {
        if let Some(at) = self.calls.iter().position(|call| call.id() == id) {
            let call = self.calls.remove(at);
            self.out.push(call.finish(at_ns, reason));
        }
    }
}
