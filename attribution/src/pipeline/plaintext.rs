//! Plaintext of TLS connections: which connection it belongs to, and what its calls lead to.

use super::{Attribution, Connections, MAX_CONNECTIONS, Name, Output};
use crate::call::{Connection, Finished, Piece, Route};
use crate::event::{Handle, Task};
use crate::flow::Verdict;

/// Reasons of unbound calls.
const NO_HELLO: &str =
    "its ClientHello was not seen: the connection is older than the sensor or inside another";
const NO_RANDOM: &str = "the place of the client random in this library's TLS object is not known yet";
const NOT_OPENER: &str = "the flow with its client random was opened by an unrelated process";
/// Why calls of a replaced connection have no end.
const REPLACED: &str = "its TLS object was used for another connection";

impl Attribution {
    /// Takes a part of a TLS read or write, which `probe` told.
    pub(super) fn plaintext(
        &mut self,
        handle: Handle,
        by_random: bool,
        cookie: u64,
        probe: u32,
        piece: Piece<'_>,
    ) {
        self.processes.seen(piece.task);
        let name = if by_random { Name::Random(handle) } else { Name::Object(handle) };
        if by_random && self.elsewhere.get(&handle).is_some() {
            return;
        }
        if replaces(&self.connections, name, piece) {
            self.end_connection(name, REPLACED);
        }
        if self.connections.get(name).is_none() {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.counts.connections_refused += 1;
                return;
            }
            let connection = self.connection(by_random, cookie, piece.task);
            self.connections.insert(name, connection);
        }
        let kit = self.kit.clone();
        let mut finished = Vec::new();
        if let Some(known) = self.connections.get_mut(name) {
            known.data(&kit, piece, &mut finished);
            if let Some(flow) = self.flows.get_mut(known.cookie) {
                flow.probe = Some(probe);
            }
        }
        self.after_data(name, finished);
    }

    /// A connection that is bound to its flow when the client random proves it and the process that
    /// opened the flow is the one that uses it, or an ancestor.
    fn connection(&self, by_random: bool, cookie: u64, task: &Task) -> Connection {
        let user = task.process;
        let flow = self.flows.get(cookie);
        let opener = flow.map(|flow| flow.info.task.process);
        let strange = opener.is_some_and(|opener| {
            opener != user && !self.processes.ancestors(user).any(|ancestor| ancestor.key == opener)
        });
        let reason = match (by_random, cookie) {
            (false, _) => NO_RANDOM,
            (true, 0) => NO_HELLO,
            (true, _) if strange => NOT_OPENER,
            (true, _) => {
                let flow = flow.filter(|flow| !flow.tunnel);
                let route = Route {
                    remote: flow.map(|flow| flow.info.remote),
                    host: self.flows.get(cookie).and_then(|flow| flow.host.clone()),
                    cleartext: false,
                };
                return Connection::new(user, cookie, "", route);
            }
        };
        Connection::new(user, 0, reason, Route::default())
    }

    fn after_data(&mut self, name: Name, finished: Vec<Finished>) {
        let Some(known) = self.connections.get(name) else { return };
        let (cookie, reason, last_ns) = (known.cookie, known.unbound_reason, known.last_ns);
        let (requests, told, owner) = (known.requests, known.told.clone(), known.owner);
        let lost = known.lost();
        if requests == Some(false) {
            self.connections.remove(name);
            self.flows.remove(cookie);
            // The address of an object may be another connection's tomorrow: it gets no verdict.
            if let Name::Random(handle) = name {
                self.goes_elsewhere(handle);
            }
            return;
        }
        let mut first = false;
        if let Some(flow) = self.flows.get_mut(cookie) {
            flow.plaintext = true;
            flow.lost = flow.lost.or(lost);
            flow.last_ns = last_ns;
            if flow.verdict != Verdict::Model && requests == Some(true) {
                flow.verdict = Verdict::Model;
                first = true;
            }
            if let Some((host, provider)) = told
                && flow.host.as_ref().is_none_or(|known| {
                    known.evidence > host.evidence || (known.name.is_empty() && !host.name.is_empty())
                })
            {
                (flow.host, flow.provider) = (Some(host), Some(provider));
            }
        }
        if first {
            if let Name::Random(connection) = name {
                self.out.push(Output::Verdict { connection, model: true });
            }
            self.called(owner);
        }
        for call in finished {
            self.call_record(name, cookie, reason, call);
        }
    }

    /// Plaintext of other endpoints is not kept, and not copied again.
    pub(super) fn goes_elsewhere(&mut self, connection: Handle) {
        self.elsewhere.insert(connection, ());
        self.out.push(Output::Verdict { connection, model: false });
    }

    /// A connection was seen to close.
    pub(super) fn close_connection(&mut self, name: Name) {
        let Some(mut known) = self.connections.remove(name) else { return };
        let mut finished = Vec::new();
        let kit = self.kit.clone();
        known.close(&kit, self.now_ns, &mut finished);
        self.call_records(name, &known, finished);
    }

    /// Gives a connection up; `reason` is told of its open calls.
    pub(super) fn end_connection(&mut self, name: Name, reason: &str) {
        let Some(mut known) = self.connections.remove(name) else { return };
        let mut finished = Vec::new();
        known.abandon(self.now_ns, reason, &mut finished);
        self.call_records(name, &known, finished);
    }

    fn call_records(&mut self, name: Name, known: &Connection, finished: Vec<Finished>) {
        for call in finished {
            self.call_record(name, known.cookie, known.unbound_reason, call);
        }
    }
}

/// Whether a TLS object now carries another connection: its address has another user, or a request begins
/// while the answer to one is due. Without a client random this looks like pipelining, and is taken for
/// what cannot mix two connections.
fn replaces(connections: &Connections, name: Name, piece: Piece<'_>) -> bool {
    let (Name::Object(_), Some(known)) = (name, connections.get(name)) else { return false };
    known.owner != piece.task.process || known.begins_anew(piece)
}
