//! Records from what is known.

use proto::v1;

use super::{Attribution, protocol, workload};
use crate::call::Finished;
use crate::event::{ProcessKey, Shape, Task};
use crate::flow::{self, Flow, Host};

/// Coverage reasons of flows whose plaintext was not read.
const QUIC: &str = "quic: the payload of QUIC is not read";
const NOT_TLS: &str = "neither TLS nor HTTP";
const HTTP2: &str = "http/2: its frames are not read";
const OLDER: &str = "the connection is older than the sensor";
const NO_CALL: &str = "no TLS function of a known library was called on it";

impl Attribution {
    /// The `process` part of a record, of a process generation and what the kernel said at the act.
    pub(super) fn process(&self, task: &Task) -> v1::Process {
        let known = self.processes.get(task.process);
        let image = known.and_then(|known| known.image.clone());
        let cgroup = self
            .cgroups
            .get(&task.cgroup_id)
            .filter(|path| path.len() > 1)
            .cloned()
            .or_else(|| known.and_then(|known| known.cgroup.as_deref().map(str::to_owned)))
            .or_else(|| self.cgroups.get(&task.cgroup_id).cloned());
        v1::Process {
            pid: task.process.pid,
            start_time: self.processes.started(task.process),
            exe: image.as_ref().map(|image| image.exe.clone()).unwrap_or_default(),
            comm: image.as_ref().map_or_else(|| task.comm.clone(), |image| image.comm.clone()),
            args: image.as_ref().map(|image| image.args.clone()).unwrap_or_default(),
            uid: Some(task.uid),
            ancestors: self.ancestors(task.process),
            cgroup: cgroup.unwrap_or_default(),
            cgroup_id: Some(task.cgroup_id),
            unknown_reason: match image {
                Some(_) => String::new(),
                None => self.processes.unknown_reason().to_owned(),
            },
        }
    }

    fn ancestors(&self, process: ProcessKey) -> Vec<v1::Ancestor> {
        self.processes
            .ancestors(process)
            .map(|ancestor| v1::Ancestor {
                pid: ancestor.key.pid,
                start_time: ancestor.started,
                exe: ancestor.image.as_ref().map(|image| image.exe.clone()).unwrap_or_default(),
            })
            .collect()
    }

    pub(super) fn model_call(
        &self,
        cookie: u64,
        unbound_reason: &str,
        cleartext: bool,
        call: Finished,
    ) -> v1::ModelCall {
        let process = self.process(&call.task);
        let flow = self.flows.get(cookie);
        let elapsed = |end: u64| end.saturating_sub(call.started_ns) / 1_000_000;
        v1::ModelCall {
            flow_id: if cookie == 0 { String::new() } else { flow::id(cookie) },
            binding: match (cookie, cleartext) {
                (0, _) => "unbound",
                (_, true) => "cleartext",
                (_, false) => "client_random",
            }
            .into(),
            binding_reason: unbound_reason.to_owned(),
            operation: call.operation,
            model_requested: call.model_requested,
            model_served: call.model_served,
            status: call.status,
            stream: call.stream,
            tokens: call.tokens,
            cost: call.cost,
            started: self.wall(call.started_ns),
            duration_ms: call.ended_ns.map(elapsed),
            ttfb_ms: call.first_ns.map(elapsed),
            request_id: call.request_id,
            session_id: call.session_id,
            user_agent: call.user_agent,
            workload: Some(workload(&self.sensor.host, &process)),
            process: Some(process),
            credential: call.credential,
            endpoint: Some(endpoint(call.host.as_ref(), &call.provider, flow)),
            source: flow.and_then(Flow::local).map(source),
            incomplete_reason: call.incomplete,
            session: String::new(),
            orphaned: false,
        }
    }

    pub(super) fn flow_body(&self, flow: Flow, bytes: Option<(u64, u64)>) -> v1::Flow {
        let process = self.process(&flow.info.task);
        let provider = flow.provider.clone().unwrap_or_default();
        v1::Flow {
            id: flow.id(),
            source: flow.local().map(source),
            endpoint: Some(endpoint(flow.host.as_ref(), &provider, Some(&flow))),
            workload: Some(workload(&self.sensor.host, &process)),
            process: Some(process),
            bytes_sent: bytes.map(|(sent, _)| sent),
            bytes_received: bytes.map(|(_, received)| received),
            opened: self.wall(flow.info.opened_ns),
            closed: if bytes.is_some() { self.wall(self.now_ns) } else { 0 },
            direction: "egress".into(),
            pre_existing: flow.pre_existing,
            tls: self.tls(&flow),
            protocol: protocol(flow.info.protocol).into(),
            credential: flow.credential,
        }
    }

    fn tls(&self, flow: &Flow) -> Option<v1::Tls> {
        if flow.shape == Some(Shape::Http) && !flow.tunnel {
            return None;
        }
        let library = self.libraries.get(&flow.info.task.process);
        let reason = match (flow.plaintext, flow.shape) {
            (true, _) => "",
            (_, Some(Shape::Quic)) => QUIC,
            (_, Some(Shape::Other)) => NOT_TLS,
            _ if flow.http2 => HTTP2,
            _ if flow.pre_existing => OLDER,
            _ => match library {
                Some(library) if !library.reason.is_empty() => &library.reason,
                _ => NO_CALL,
            },
        };
        let hello = flow.hello.as_ref();
        Some(v1::Tls {
            library: library.map(|library| library.name.clone()).unwrap_or_default(),
            version: String::new(),
            alpn: hello.map(|hello| hello.alpn.join(",")).unwrap_or_default(),
            ja4: hello.map(|hello| hello.ja4.clone()).unwrap_or_default(),
            coverage: if flow.plaintext { "plaintext" } else { "none" }.into(),
            coverage_reason: reason.into(),
            method: library.map(|library| library.method.clone()).unwrap_or_default(),
        })
    }
}

fn endpoint(host: Option<&Host>, provider: &str, flow: Option<&Flow>) -> v1::Endpoint {
    v1::Endpoint {
        provider: provider.to_owned(),
        host: host.map(|host| host.name.clone()).unwrap_or_default(),
        host_evidence: host.map(|host| host.evidence.name().to_owned()).unwrap_or_default(),
        address: flow.map(|flow| flow.info.remote.ip().to_string()).unwrap_or_default(),
        port: flow.map_or(0, |flow| u32::from(flow.info.remote.port())),
    }
}

fn source(address: std::net::SocketAddr) -> v1::Source {
    v1::Source { address: address.ip().to_string(), port: u32::from(address.port()) }
}
