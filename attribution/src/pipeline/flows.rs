//! Flows: where they go, by their first payload and by DNS.

use super::{Attribution, Name, Output};
use crate::decode::{Outcome, dns};
use crate::endpoint::HostMatch;
use crate::event::{FlowInfo, Handle, Plaintext, ProcessKey, Protocol, Shape};
use crate::flow::{Flow, Host, HostEvidence, Verdict};

/// Why calls of a cleartext connection have no end that was not seen to close.
const RECONNECTED: &str = "its socket was connected again";

impl Attribution {
    pub(super) fn dns(&mut self, cgroup_id: u64, process: Option<ProcessKey>, message: &[u8]) {
        let Outcome::Match(answer) = dns::answer(message) else {
            self.counts.malformed += 1;
            return;
        };
        let model = self.kit.catalogue.is_model_host(&answer.question);
        for (address, ttl_s) in &answer.addresses {
            self.names.learn(cgroup_id, *address, &answer.question, *ttl_s, self.now_ns);
            if model {
                self.out.push(Output::ModelAddress(*address));
            }
        }
        if let (true, Some(process)) = (model, process) {
            self.out.push(Output::Caller(process));
        }
    }

    /// Takes a part of the first payload of a flow.
    pub(super) fn payload(&mut self, info: &FlowInfo, shape: Shape, offset: u32, bytes: Plaintext) {
        self.processes.seen(&info.task);
        match self.flows.get(info.cookie) {
            // The rest of what was found to go elsewhere.
            None if offset > 0 => return,
            // The socket connected again, and the end of its first flow was not told.
            Some(known) if known.info.opened_ns != info.opened_ns => {
                self.end_connection(Name::Cleartext(info.cookie), RECONNECTED);
                if let Some(flow) = self.flows.remove(info.cookie) {
                    self.flow_record(flow, None);
                }
            }
            _ => {}
        }
        let now_ns = self.now_ns;
        let Some(flow) = self.flows.get_or_add(info) else { return };
        flow.last_ns = now_ns;
        if !flow.extend(shape, offset, &bytes) {
            self.counts.out_of_order += 1;
            flow.done();
            return;
        }
        match shape {
            Shape::Tls | Shape::Quic => self.hello(info),
            Shape::Http => self.cleartext(info, offset, &bytes),
            Shape::Other => {
                self.route(info, None);
            }
        }
    }

    /// Reads the ClientHello once it is whole.
    fn hello(&mut self, info: &FlowInfo) {
        let Some(flow) = self.flows.get_mut(info.cookie) else { return };
        match flow.read_hello() {
            Outcome::Incomplete => {}
            Outcome::NoMatch => {
                flow.done();
                self.counts.malformed += 1;
                self.route(info, None);
            }
            Outcome::Match(hello) => {
                flow.done();
                let name = hello.server_name.clone();
                // With Encrypted ClientHello it may be a cover name (RFC 9849 section 3): then the first request tells.
                let name = name.filter(|name| !hello.ech || self.kit.catalogue.is_model_host(name));
                flow.hello = Some(hello);
                self.route(info, name.map(|name| Host { name, evidence: HostEvidence::Sni }));
            }
        }
    }

    /// Decides about QUIC flows whose ClientHello did not come whole in time; what else is known of them may tell.
    pub(super) fn settle_quic(&mut self, wait_ns: u64) {
        let now = self.now_ns;
        let late = self
            .flows
            .select(|flow| flow.shape == Some(Shape::Quic) && flow.last_ns.saturating_add(wait_ns) <= now);
        for cookie in late {
            let Some(flow) = self.flows.get_mut(cookie) else { continue };
            flow.done();
            let info = flow.info.clone();
            self.route(&info, None);
        }
    }

    /// Decides where a flow goes, by its own name, the cgroup's DNS answers, or the configuration.
    pub(super) fn route(&mut self, info: &FlowInfo, named: Option<Host>) {
        let Some(flow) = self.flows.get(info.cookie) else { return };
        // Behind a proxy the address says nothing of where a connection ends.
        let direct = !flow.tunnel;
        // Nothing of a datagram flow will be read after this.
        let stream = info.protocol == Protocol::Tcp;
        let may_tell = stream && (flow.hello.is_some() || flow.pre_existing);
        let catalogue = &self.kit.catalogue;
        let host = named.or_else(|| {
            let name = self.names.name(info.task.cgroup_id, info.remote.ip(), self.now_ns)?;
            direct.then(|| Host { name: name.to_owned(), evidence: HostEvidence::Dns })
        });
        let dns_host = host.as_ref().filter(|_| direct).and_then(|host| {
            self.names.other_name(info.task.cgroup_id, info.remote.ip(), &host.name, self.now_ns)
        });
        let dns_host = dns_host.map(str::to_owned);
        let configured =
            catalogue.address(info.remote).filter(|_| direct).map(|provider| provider.name().to_owned());
        let provider = host.as_ref().and_then(|host| match catalogue.host(&host.name) {
            HostMatch::Provider(provider) | HostMatch::NeedsPath(provider) => {
                Some(provider.name().to_owned())
            }
            HostMatch::Unknown => None,
        });
        let by_name = host.as_ref().map(|host| (catalogue.is_model_host(&host.name), host.evidence));
        let verdict = match by_name {
            _ if configured.is_some() => Verdict::Model,
            Some((true, _)) => Verdict::Model,
            Some((false, HostEvidence::Sni)) => Verdict::Other,
            // No name of its own: the first request will tell, and knows better than DNS.
            _ if may_tell => Verdict::Pending,
            _ => Verdict::Other,
        };
        let Some(flow) = self.flows.get_mut(info.cookie) else { return };
        flow.verdict = verdict;
        flow.dns_host = dns_host;
        flow.host = match host {
            None if configured.is_some() => {
                Some(Host { name: String::new(), evidence: HostEvidence::Configured })
            }
            host => host,
        };
        flow.provider = provider.or(configured);
        let connection = flow.connection().filter(|_| stream);
        match verdict {
            Verdict::Model => {
                if let Some(connection) = connection {
                    self.out.push(Output::Verdict { connection, model: true });
                }
                self.called(info.task.process);
                // Of a datagram flow neither plaintext nor an end will be told.
                if !stream && let Some(flow) = self.flows.remove(info.cookie) {
                    self.flow_record(flow, None);
                }
            }
            Verdict::Other => {
                if let Some(connection) = connection {
                    self.goes_elsewhere(connection);
                }
                self.flows.remove(info.cookie);
            }
            Verdict::Pending => {}
        }
    }

    pub(super) fn closed(&mut self, info: &FlowInfo, connection: Option<Handle>, sent: u64, received: u64) {
        self.close_cleartext(info.cookie);
        if let Some(connection) = connection {
            self.close_connection(Name::Random(connection));
            self.out.push(Output::Ended(connection));
        }
        self.tell_gone(info.cookie);
        if let Some(mut flow) = self.flows.remove(info.cookie) {
            if flow.info.local.is_none() {
                flow.info.local = info.local;
            }
            self.flow_record(flow, Some((sent, received)));
        }
    }

    /// The record of a flow that is over, if it goes to a model endpoint.
    pub(super) fn flow_record(&mut self, mut flow: Flow, bytes: Option<(u64, u64)>) {
        self.tell_flow(&flow);
        if flow.verdict != Verdict::Model {
            return;
        }
        self.counts.flows_model += 1;
        self.counts.flows_plaintext += u64::from(flow.plaintext);
        if flow.credential.is_none() && !flow.plaintext {
            let provider = flow.provider.as_deref().unwrap_or_default();
            flow.credential = self.inferred(&flow.info.task, provider, flow.info.opened_ns);
        }
        let body = self.flow_body(flow, bytes);
        self.emit(self.now_ns, proto::v1::record::Body::Flow(Box::new(body)));
    }
}
