//! Cleartext connections: packets in order, and what the requests in them tell.

use super::{Attribution, MAX_CONNECTIONS, Name, Output};
use crate::call::{Connection, Piece, Route};
use crate::decode::{Outcome, http1, http2};
use crate::event::{Direction, FlowInfo, Handle, Plaintext};
use crate::flow::{Host, HostEvidence, Verdict};

impl Attribution {
    /// Begins to read a cleartext connection, or goes on: `bytes` are its first payload.
    pub(super) fn cleartext(&mut self, info: &FlowInfo, offset: u32, bytes: &[u8]) {
        let name = Name::Cleartext(info.cookie);
        if self.connections.get(name).is_none() {
            if self.flows.get(info.cookie).is_some_and(|flow| flow.tunnel) {
                return;
            }
            if http1::looks_like_request(bytes) == Outcome::NoMatch && !http2::looks_like_preface(bytes) {
                self.flows.remove(info.cookie);
                return;
            }
            if self.connections.len() >= MAX_CONNECTIONS {
                self.counts.connections_refused += 1;
                return;
            }
            let host = self.names.name(info.task.cgroup_id, info.remote.ip(), self.now_ns);
            let host = host.map(|name| Host { name: name.to_owned(), evidence: HostEvidence::Dns });
            let route = Route { host, remote: Some(info.remote), cleartext: true };
            self.connections.insert(name, Connection::new(info.task.process, info.cookie, "", route));
        }
        self.packet(info.cookie, Direction::Write, offset, Plaintext::copy(bytes));
    }

    /// Takes a packet of a connection that is being read.
    pub(super) fn packet(&mut self, cookie: u64, direction: Direction, position: u32, bytes: Plaintext) {
        let Some(flow) = self.flows.get_mut(cookie) else { return };
        if self.connections.get(Name::Cleartext(cookie)).is_none() {
            return; // what was copied before the kernel knew that it goes elsewhere
        }
        flow.last_ns = self.now_ns;
        let info = flow.info.clone();
        let [requests, answers] = &mut flow.orders;
        let order = if direction == Direction::Write { requests } else { answers };
        let parts = order.take(position, bytes);
        self.in_order(&info, direction, parts);
    }

    /// The connection is closed: what still waited for something before it comes now.
    pub(super) fn close_cleartext(&mut self, cookie: u64) {
        if self.connections.get(Name::Cleartext(cookie)).is_none() {
            return;
        }
        if let Some(flow) = self.flows.get_mut(cookie) {
            let info = flow.info.clone();
            let [requests, answers] = &mut flow.orders;
            let (requests, answers) = (requests.rest(), answers.rest());
            self.in_order(&info, Direction::Write, requests);
            self.in_order(&info, Direction::Read, answers);
        }
        self.close_connection(Name::Cleartext(cookie));
        self.out.push(Output::Ended(handle(cookie)));
    }

    fn in_order(&mut self, info: &FlowInfo, direction: Direction, parts: Vec<(u64, Plaintext)>) {
        let name = Name::Cleartext(info.cookie);
        let kit = self.kit.clone();
        for (position, bytes) in parts {
            let Some(known) = self.connections.get_mut(name) else { return };
            let mut finished = Vec::new();
            let piece = Piece { task: &info.task, direction, position, bytes: &bytes, time_ns: self.now_ns };
            known.data(&kit, piece, &mut finished);
            self.decide(info);
            for call in finished {
                self.call_record(name, info.cookie, "", call);
            }
        }
    }

    /// Decides where a connection goes by what its requests told so far.
    fn decide(&mut self, info: &FlowInfo) {
        let name = Name::Cleartext(info.cookie);
        let Some(known) = self.connections.get(name) else { return };
        let (requests, tunnel, told) = (known.requests, known.tunnel, known.told.clone());
        match requests {
            Some(true) => {
                let mut first = false;
                if let Some(flow) = self.flows.get_mut(info.cookie) {
                    first = flow.verdict != Verdict::Model;
                    (flow.verdict, flow.plaintext) = (Verdict::Model, true);
                    if let Some((host, provider)) = told {
                        let (cgroup, address) = (info.task.cgroup_id, info.remote.ip());
                        let other = self.names.other_name(cgroup, address, &host.name, self.now_ns);
                        flow.dns_host = other.map(str::to_owned);
                        (flow.host, flow.provider) = (Some(host), Some(provider));
                    }
                }
                if first {
                    self.out.push(Output::Verdict { connection: handle(info.cookie), model: true });
                    self.called(info.task.process);
                }
            }
            Some(false) => {
                self.connections.remove(name);
                match self.flows.get_mut(info.cookie) {
                    // A tunnel may still show a ClientHello.
                    Some(flow) if tunnel => flow.tunnel = true,
                    _ => {
                        self.flows.remove(info.cookie);
                        self.out.push(Output::Verdict { connection: handle(info.cookie), model: false });
                    }
                }
            }
            None => {}
        }
    }
}

/// What the kernel programs call a cleartext connection (`sensor_common::cleartext::handle`).
fn handle(cookie: u64) -> Handle {
    let mut handle = [0; 16];
    let (first, _) = handle.split_at_mut(8);
    first.copy_from_slice(&cookie.to_ne_bytes());
    handle
}
