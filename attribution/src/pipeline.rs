//! The whole of attribution: events in, records and requests out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use proto::v1::{self, Record, record::Body};

use crate::call::{Connection, Finished, Route, Toolkit};
use crate::decode::{Outcome, dns, http1};
use crate::detect::SharedCredential;
use crate::event::{Event, FileId, FlowInfo, Handle, Plaintext, ProcessKey, Protocol, Shape, Task};
use crate::flow::{Flow, FlowTable, Host, HostEvidence, Names, Verdict};
use crate::identity::{cgroup, process::ProcessTable};

mod limits;
mod record;

pub use limits::{Counts, MAX_CONNECTIONS};

/// What attribution asks of whoever feeds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A record, complete but for nothing.
    Record(Record),
    /// Plaintext of this connection is wanted, or not.
    Verdict {
        /// The connection.
        connection: Handle,
        /// Whether it goes to a model endpoint.
        model: bool,
    },
    /// A connection ended; whatever is kept of it elsewhere can go.
    Ended(Handle),
    /// A model host has this address now.
    ModelAddress(IpAddr),
    /// First sign that a process calls a model.
    Caller(ProcessKey),
    /// An executable has called a model.
    Learned(FileId),
}

/// Facts about the sensor itself.
#[derive(Debug, Clone, Default)]
pub struct SensorInfo {
    /// Host name.
    pub host: String,
    /// Boot id of the kernel.
    pub boot_id: String,
}

/// The state of attribution.
pub struct Attribution {
    kit: Arc<Toolkit>,
    sensor: SensorInfo,
    clock_ns: i64,
    now_ns: u64,
    seq: u64,
    processes: ProcessTable,
    cgroups: HashMap<u64, String>,
    names: Names,
    flows: FlowTable,
    connections: HashMap<Handle, Connection>,
    by_process: HashMap<ProcessKey, Vec<Handle>>,
    libraries: HashMap<ProcessKey, (String, String)>,
    shared: SharedCredential,
    counts: Counts,
    out: Vec<Output>,
}

impl Attribution {
    /// With no knowledge of anything yet.
    pub fn new(kit: Toolkit, sensor: SensorInfo) -> Self {
        Self {
            kit: Arc::new(kit),
            sensor,
            clock_ns: 0,
            now_ns: 0,
            seq: 0,
            processes: ProcessTable::default(),
            cgroups: HashMap::new(),
            names: Names::default(),
            flows: FlowTable::default(),
            connections: HashMap::new(),
            by_process: HashMap::new(),
            libraries: HashMap::new(),
            shared: SharedCredential::default(),
            counts: Counts::default(),
            out: Vec::new(),
        }
    }

    /// Takes one event; what follows from it is in [`Attribution::outputs`].
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Clock { offset_ns } => self.clock_ns = offset_ns,
            Event::Fork { time_ns, parent, child } => {
                self.at(time_ns);
                self.processes.fork(parent, child);
            }
            Event::Exec { time_ns, task, parent, mut image } => {
                self.at(time_ns);
                image.args = self.kit.redactor.redact_args(image.args);
                self.processes.exec(&task, parent, image);
            }
            Event::Exit { time_ns, process } => self.exited(process, time_ns),
            Event::Running { pid, start_ns, tick_ns, parent, uid, mut image, cgroup } => {
                image.args = self.kit.redactor.redact_args(image.args);
                let key = ProcessKey { pid, start_ns };
                self.processes.running(key, tick_ns, parent, uid, image, &cgroup);
            }
            Event::Cgroup { id, path } => self.learn_cgroup(id, path),
            Event::Existing { flow } => {
                if let Some(flow) = self.flows.get_or_add(&flow) {
                    flow.pre_existing = true;
                }
            }
            Event::Connect { time_ns, flow } => {
                self.at(time_ns);
                self.out.push(Output::Caller(flow.task.process));
            }
            Event::Payload { time_ns, flow, shape, offset, bytes } => {
                self.at(time_ns);
                self.payload(&flow, shape, offset, bytes);
            }
            Event::Close { time_ns, flow, connection, sent, received } => {
                self.at(time_ns);
                self.closed(&flow, connection, sent, received);
            }
            Event::Dns { time_ns, cgroup_id, process, message } => {
                self.at(time_ns);
                self.dns(cgroup_id, process, &message);
            }
            Event::Tls { time_ns, task, connection, by_random, cookie, direction, offset, total, bytes } => {
                self.at(time_ns);
                self.processes.seen(&task);
                let kit = self.kit.clone();
                let Some(known) = self.connection(connection, by_random, cookie, &task) else { return };
                let mut finished = Vec::new();
                known.data(&kit, &task, direction, offset, total, &bytes, time_ns, &mut finished);
                self.after_data(connection, finished);
            }
            Event::Library { process, name, reason } => {
                if self.libraries.len() < limits::MAX_LIBRARIES {
                    self.libraries.insert(process, (name, reason));
                }
            }
            Event::Tick { time_ns } => self.tick(time_ns),
        }
    }

    /// What the events so far led to, in order; handed out once.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Ends everything that is still open, at the end of a run.
    pub fn finish(&mut self) {
        let mut open: Vec<Handle> = self.connections.keys().copied().collect();
        open.sort_unstable();
        for connection in open {
            self.end_connection(connection, "the sensor stopped");
        }
        for flow in self.flows.drain() {
            self.flow_record(flow, None);
        }
    }

    /// A `status` record of `status`, numbered like every other.
    pub fn status(&mut self, status: v1::Status) {
        self.emit(self.now_ns, Body::Status(status));
    }

    /// What was seen and what could not be kept.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        counts.processes = self.processes.len() as u64;
        counts.flows = self.flows.len() as u64;
        counts.connections = self.connections.len() as u64;
        counts.names = self.names.len() as u64;
        counts.processes_evicted = self.processes.dropped.evicted;
        counts.flows_refused = self.flows.refused;
        counts
    }

    fn at(&mut self, time_ns: u64) {
        self.now_ns = self.now_ns.max(time_ns);
    }

    fn tick(&mut self, time_ns: u64) {
        self.at(time_ns);
        self.processes.expire(self.now_ns);
        let now = self.now_ns;
        let idle: Vec<Handle> = self
            .connections
            .iter()
            .filter(|(_, known)| known.last_ns.saturating_add(limits::IDLE_NS) < now)
            .map(|(handle, _)| *handle)
            .collect();
        for connection in idle {
            self.end_connection(connection, "nothing was read or written for a long time");
        }
    }

    fn exited(&mut self, process: ProcessKey, time_ns: u64) {
        self.at(time_ns);
        self.processes.exit(process, time_ns);
        self.libraries.remove(&process);
        for connection in self.by_process.remove(&process).unwrap_or_default() {
            // A bound connection ends with its flow, whose last bytes may be told after this.
            if self.connections.get(&connection).is_some_and(|known| known.cookie == 0) {
                self.end_connection(connection, "the process ended");
            }
        }
    }

    fn learn_cgroup(&mut self, id: u64, path: String) {
        if self.cgroups.len() >= limits::MAX_CGROUPS {
            self.cgroups.clear();
        }
        self.cgroups.insert(id, path);
    }

    fn dns(&mut self, cgroup_id: u64, process: Option<ProcessKey>, message: &[u8]) {
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

    fn payload(&mut self, info: &FlowInfo, shape: Shape, offset: u32, bytes: Plaintext) {
        self.processes.seen(&info.task);
        let Some(flow) = self.flows.get_or_add(info) else { return };
        if flow.extend(shape, offset, &bytes).is_none() {
            self.counts.out_of_order += 1;
            flow.done();
            return;
        }
        match shape {
            Shape::Tls => self.hello(info),
            Shape::Http => self.cleartext(info, &bytes),
            Shape::Quic | Shape::Other => {
                self.flows.get_mut(info.cookie).into_iter().for_each(Flow::done);
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
                flow.hello = Some(hello);
                self.route(info, name.map(|name| Host { name, evidence: HostEvidence::Sni }));
            }
        }
    }

    /// Decides where a flow goes, by its own name, the cgroup's DNS answers, or the configuration.
    fn route(&mut self, info: &FlowInfo, named: Option<Host>) {
        let ip = info.remote.ip();
        let host = named.or_else(|| {
            let name = self.names.name(info.task.cgroup_id, ip, self.now_ns)?;
            Some(Host { name: name.to_owned(), evidence: HostEvidence::Dns })
        });
        let by_name = host.as_ref().map(|host| self.kit.catalogue.is_model_host(&host.name));
        let configured = self.kit.catalogue.address(info.remote).map(|provider| provider.name().to_owned());
        let provider = host.as_ref().and_then(|host| match self.kit.catalogue.host(&host.name) {
            crate::endpoint::HostMatch::Provider(p) | crate::endpoint::HostMatch::NeedsPath(p) => {
                Some(p.name().to_owned())
            }
            crate::endpoint::HostMatch::Unknown => None,
        });
        let Some(flow) = self.flows.get_mut(info.cookie) else { return };
        flow.verdict = match (by_name, &configured) {
            (Some(true), _) | (_, Some(_)) => Verdict::Model,
            (Some(false), None) => Verdict::Other,
            // No name at all: the first request will tell.
            (None, None) if flow.hello.is_some() => Verdict::Pending,
            (None, None) => Verdict::Other,
        };
        flow.host = match (host, &configured) {
            (None, Some(_)) => {
                Some(Host { name: String::new(), evidence: HostEvidence::Configured })
            }
            (host, _) => host,
        };
        flow.provider = provider.or(configured);
        let (verdict, connection) = (flow.verdict, flow.connection());
        match verdict {
            Verdict::Model => {
                if let Some(connection) = connection {
                    self.out.push(Output::Verdict { connection, model: true });
                }
                self.called(info.task.process);
            }
            Verdict::Other => {
                if let Some(connection) = connection {
                    self.out.push(Output::Verdict { connection, model: false });
                }
                self.flows.remove(info.cookie);
            }
            Verdict::Pending => {}
        }
    }

    /// A process is seen to call a model.
    fn called(&mut self, process: ProcessKey) {
        self.out.push(Output::Caller(process));
        let image = self.processes.get(process).and_then(|process| process.image.clone());
        if let Some(image) = image.filter(|image| image.file != FileId::default()) {
            self.out.push(Output::Learned(image.file));
        }
    }

    /// Reads the request head of a cleartext flow; its response is not seen.
    fn cleartext(&mut self, info: &FlowInfo, bytes: &[u8]) {
        let key = cleartext_handle(info.cookie);
        let host = self
            .names
            .name(info.task.cgroup_id, info.remote.ip(), self.now_ns)
            .map(|name| Host { name: name.to_owned(), evidence: HostEvidence::Dns });
        if http1::looks_like_request(bytes) == Outcome::NoMatch && !self.connections.contains_key(&key) {
            self.flows.remove(info.cookie);
            return;
        }
        let route = Route { host, remote: Some(info.remote) };
        let known =
            self.connections.entry(key).or_insert_with(|| Connection::new(info.cookie, "", route));
        let mut finished = Vec::new();
        let kit = self.kit.clone();
        let total = bytes.len() as u32;
        known.data(&kit, &info.task, crate::event::Direction::Write, 0, total, bytes, self.now_ns, &mut finished);
        let seen = known.requests;
        let told = known.told.clone();
        match seen {
            Some(true) => {
                if let (Some(flow), Some((host, provider))) = (self.flows.get_mut(info.cookie), told) {
                    flow.verdict = Verdict::Model;
                    flow.host = Some(host);
                    flow.provider = Some(provider);
                    flow.done();
                }
            }
            Some(false) => {
                // CONNECT and requests elsewhere; a tunnel may still show a ClientHello.
                self.connections.remove(&key);
                let tunnel = bytes.starts_with(b"CONNECT ");
                match self.flows.get_mut(info.cookie) {
                    Some(flow) if tunnel => {
                        flow.tunnel = true;
                        flow.done();
                    }
                    _ => {
                        self.flows.remove(info.cookie);
                    }
                }
            }
            None => {}
        }
    }

    fn connection(
        &mut self,
        handle: Handle,
        by_random: bool,
        cookie: u64,
        task: &Task,
    ) -> Option<&mut Connection> {
        if !self.connections.contains_key(&handle) {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.counts.connections_refused += 1;
                return None;
            }
            let flow = self.flows.get(cookie);
            let route = Route {
                host: flow.and_then(|flow| flow.host.clone()),
                remote: flow.map(|flow| flow.info.remote),
            };
            let reason = match (cookie, by_random) {
                (0, true) => "its ClientHello was not seen: the connection is older than the sensor",
                (0, false) => "the place of the client random in this library's TLS object is not known yet",
                _ => "",
            };
            self.connections.insert(handle, Connection::new(cookie, reason, route));
            if cookie == 0 {
                self.by_process.entry(task.process).or_default().push(handle);
            }
        }
        self.connections.get_mut(&handle)
    }

    fn after_data(&mut self, handle: Handle, finished: Vec<Finished>) {
        let Some(known) = self.connections.get(&handle) else { return };
        let (cookie, requests, told) = (known.cookie, known.requests, known.told.clone());
        if requests == Some(false) {
            // Plaintext of other endpoints is not kept, and not copied again.
            self.connections.remove(&handle);
            self.flows.remove(cookie);
            self.out.push(Output::Verdict { connection: handle, model: false });
            return;
        }
        if let Some(flow) = self.flows.get_mut(cookie) {
            flow.plaintext = true;
            if flow.verdict != Verdict::Model && requests == Some(true) {
                flow.verdict = Verdict::Model;
                self.out.push(Output::Verdict { connection: handle, model: true });
            }
            if let Some((host, provider)) = told
                && flow.host.as_ref().is_none_or(|known| known.evidence > host.evidence)
            {
                (flow.host, flow.provider) = (Some(host), Some(provider));
            }
        }
        for call in finished {
            self.call_record(handle, cookie, call);
        }
    }

    fn closed(&mut self, info: &FlowInfo, connection: Option<Handle>, sent: u64, received: u64) {
        self.end_connection(cleartext_handle(info.cookie), "only the request head of cleartext is read");
        if let Some(connection) = connection {
            self.end_connection(connection, "the connection was closed");
            self.out.push(Output::Ended(connection));
        }
        if let Some(mut flow) = self.flows.remove(info.cookie) {
            if flow.info.local.is_none() {
                flow.info.local = info.local;
            }
            self.flow_record(flow, Some((sent, received)));
        }
    }

    fn end_connection(&mut self, handle: Handle, reason: &str) {
        let Some(mut known) = self.connections.remove(&handle) else { return };
        let mut finished = Vec::new();
        let kit = self.kit.clone();
        known.close(&kit, self.now_ns, reason, &mut finished);
        for call in finished {
            self.call_record_of(&known, handle, call);
        }
    }

    fn call_record(&mut self, handle: Handle, cookie: u64, call: Finished) {
        let reason = self.connections.get(&handle).map_or("", |known| known.unbound_reason);
        self.emit_call(cookie, reason, handle, call);
    }

    fn call_record_of(&mut self, known: &Connection, handle: Handle, call: Finished) {
        self.emit_call(known.cookie, known.unbound_reason, handle, call);
    }

    fn emit_call(&mut self, cookie: u64, reason: &str, handle: Handle, call: Finished) {
        let process = call.task.process;
        let started = self.wall(call.started_ns);
        let model_call = self.model_call(cookie, reason, handle == cleartext_handle(cookie), call);
        self.counts.calls += 1;
        self.counts.calls_unbound += u64::from(cookie == 0);
        if let Some(flow) = self.flows.get_mut(cookie) {
            flow.calls += 1;
            if flow.credential.is_none() {
                flow.credential.clone_from(&model_call.credential);
            }
        } else {
            self.called(process);
        }
        self.emit_at(started, Body::ModelCall(Box::new(model_call)));
    }

    fn flow_record(&mut self, flow: Flow, bytes: Option<(u64, u64)>) {
        if flow.verdict != Verdict::Model {
            return;
        }
        self.counts.flows_model += 1;
        self.counts.flows_plaintext += u64::from(flow.plaintext);
        let body = self.flow_body(flow, bytes);
        self.emit(self.now_ns, Body::Flow(Box::new(body)));
    }

    fn emit(&mut self, time_ns: u64, body: Body) {
        let time = self.wall(time_ns);
        self.emit_at(time, body);
    }

    fn emit_at(&mut self, time: u64, body: Body) {
        self.seq += 1;
        let mut record = Record::new(time, body);
        record.sensor = Some(v1::Sensor {
            host: self.sensor.host.clone(),
            boot_id: self.sensor.boot_id.clone(),
            seq: self.seq,
        });
        let finding = self.shared.record(&record);
        self.out.push(Output::Record(record));
        if let Some(finding) = finding {
            self.emit_at(finding.last_seen, Body::Finding(finding));
        }
    }

    /// Calendar time of a kernel time.
    fn wall(&self, time_ns: u64) -> u64 {
        time_ns.saturating_add_signed(self.clock_ns)
    }
}

/// Name of a cleartext connection: no client random is ever all zero.
fn cleartext_handle(cookie: u64) -> Handle {
    let mut handle = [0; 16];
    handle[8..].copy_from_slice(&cookie.to_ne_bytes());
    handle
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn workload(host: &str, process: &v1::Process) -> v1::Workload {
    cgroup::workload(host, &process.cgroup, process.uid, &process.exe)
}

#[cfg(test)]
mod tests;
