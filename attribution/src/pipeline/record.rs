//! Records from what is known.

use proto::v1;

use super::{Attribution, protocol};
use crate::call::Finished;
use crate::cost::{Billed, Unpriced};
use crate::event::{ProcessKey, Shape, Task};
use crate::flow::{self, Flow, Host};
use crate::identity::workload::{Asked, Place};

/// Coverage reasons of flows whose plaintext was not read.
const QUIC: &str = "quic: the payload of QUIC is not read";
const NOT_TLS: &str = "neither TLS nor HTTP";
const OLDER: &str = "the connection is older than the sensor";
const NO_CALL: &str = "no TLS function of a known library was called on it";

impl Attribution {
    /// The `process` part of a record, of a process generation and what the kernel said at the act.
    pub(super) fn process(&self, task: &Task) -> v1::Process {
        let known = self.processes.get(task.process);
        let image = known.and_then(|known| known.image.clone());
        v1::Process {
            pid: task.process.pid,
            start_time: self.processes.started(task.process),
            exe: image.as_ref().map(|image| image.exe.clone()).unwrap_or_default(),
            comm: image.as_ref().map_or_else(|| task.comm.clone(), |image| image.comm.clone()),
            args: image.as_ref().map(|image| image.args.clone()).unwrap_or_default(),
            uid: Some(task.uid),
            ancestors: self.ancestors(task.process),
            cgroup: self.place(task).path.to_owned(),
            cgroup_id: Some(task.cgroup_id),
            unknown_reason: match image {
                Some(_) => String::new(),
                None => self.processes.unknown_reason().to_owned(),
            },
        }
    }

    /// The workload of a process; `process` is what a record says of it.
    pub(super) fn workload(&self, task: &Task, process: &v1::Process) -> v1::Workload {
        self.workloads.workload(&Asked {
            host: &self.sensor.host,
            process: task.process,
            uid: process.uid,
            exe: &process.exe,
            place: self.place(task),
        })
    }

    fn place(&self, task: &Task) -> Place<'_> {
        let known = self.processes.get(task.process);
        let told = known.and_then(|known| known.cgroup.as_deref());
        self.workloads.place(task.cgroup_id, known.and_then(|known| known.member), told)
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
        &mut self,
        cookie: u64,
        unbound_reason: &str,
        cleartext: bool,
        call: Finished,
    ) -> v1::ModelCall {
        let process = self.process(&call.task);
        let cost = self.cost(&call);
        let workload = self.workload(&call.task, &process);
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
            cost,
            started: self.wall(call.started_ns),
            duration_ms: call.ended_ns.map(elapsed),
            ttfb_ms: call.first_ns.map(elapsed),
            request_id: call.request_id,
            session_id: call.session_id,
            user_agent: call.user_agent,
            workload: Some(workload),
            process: Some(process),
            credential: call.credential,
            endpoint: Some(v1::Endpoint {
                request_host: call.request_host,
                ..endpoint(call.host.as_ref(), &call.provider, flow)
            }),
            source: flow.and_then(Flow::local).map(source),
            incomplete_reason: call.incomplete,
            session: String::new(),
            orphaned: false,
        }
    }

    /// What a call cost; why a call with tokens has no cost is counted.
    fn cost(&mut self, call: &Finished) -> Option<v1::Cost> {
        // What spends no tokens and reports no money is paid by nobody.
        if call.tokens.is_none() && call.billing.reported.is_none() {
            return None;
        }
        let models = [&call.model_served, &call.model_requested];
        let billed = Billed {
            provider: &call.provider,
            model: models.into_iter().find(|model| !model.is_empty()).map_or("", String::as_str),
            time: self.wall(call.started_ns),
            tier: &call.billing.tier,
            tokens: call.tokens.as_ref(),
            cache_write_1h: call.billing.cache_write_1h,
            reported: call.billing.reported,
            subscription: call.billing.subscription,
            credential: call
                .credential
                .as_ref()
                .map(|credential| (credential.provider.as_str(), credential.kind.as_str())),
        };
        match self.kit.prices.cost(&billed) {
            Ok(cost) => return Some(cost),
            Err(Unpriced::Model) => self.counts.unpriced_model += 1,
            Err(Unpriced::Tier) => self.counts.unpriced_tier += 1,
            Err(Unpriced::Tokens) => {}
        }
        None
    }

    pub(super) fn flow_body(&self, flow: Flow, bytes: Option<(u64, u64)>) -> v1::Flow {
        let process = self.process(&flow.info.task);
        let workload = self.workload(&flow.info.task, &process);
        let provider = flow.provider.clone().unwrap_or_default();
        v1::Flow {
            id: flow.id(),
            source: flow.local().map(source),
            endpoint: Some(endpoint(flow.host.as_ref(), &provider, Some(&flow))),
            workload: Some(workload),
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
        let process = || self.libraries.get(&flow.info.task.process);
        // A process can have several.
        let library = flow.probe.and_then(|probe| self.probed.get(&probe)).or_else(process);
        let (coverage, reason) = match (flow.plaintext, flow.shape) {
            (true, _) => match flow.lost {
                Some(lost) => ("partial", lost.to_string()),
                None => ("plaintext", String::new()),
            },
            (_, Some(Shape::Quic)) => ("none", QUIC.to_owned()),
            (_, Some(Shape::Other)) => ("none", NOT_TLS.to_owned()),
            _ if flow.pre_existing => ("none", OLDER.to_owned()),
            _ => match library {
                Some(library) if !library.reason.is_empty() => ("none", library.reason.clone()),
                _ => ("none", NO_CALL.to_owned()),
            },
        };
        let hello = flow.hello.as_ref();
        Some(v1::Tls {
            library: library.map(|library| library.name.clone()).unwrap_or_default(),
            version: String::new(),
            alpn: hello.map(|hello| hello.alpn.join(",")).unwrap_or_default(),
            ja4: hello.map(|hello| hello.ja4.clone()).unwrap_or_default(),
            coverage: coverage.to_owned(),
            coverage_reason: reason,
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
        dns_host: flow.and_then(|flow| flow.dns_host.clone()).unwrap_or_default(),
        request_host: String::new(),
    }
}

fn source(address: std::net::SocketAddr) -> v1::Source {
    v1::Source { address: address.ip().to_string(), port: u32::from(address.port()) }
}
