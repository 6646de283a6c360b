//! The whole of attribution: events in, records and requests out.

use std::net::IpAddr;
use std::sync::Arc;

use proto::v1::{self, Record, record::Body};

use crate::call::{Finished, Piece, Toolkit};
use crate::credential::Origins;
use crate::detect::Detector;
use crate::endpoint::Catalogue;
use crate::event::{CgroupKey, Event, FileId, Handle, ProcessKey, Protocol, TlsLibrary};
use crate::flow::{FlowTable, Names};
use crate::identity::{arguments, process::ProcessTable, workload::Workloads};
use crate::policy::Policy;
use crate::session::Sessions;

mod cleartext;
mod connections;
mod credential_files;
mod flows;
mod limits;
mod plaintext;
mod recent;
mod record;
mod recorded;
mod sessions;

use connections::{Connections, Name};
use recent::Recent;

pub use limits::{Counts, MAX_CONNECTIONS};

/// What attribution asks of whoever feeds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A record, complete but for nothing.
    Record(Box<Record>),
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
    workloads: Workloads,
    names: Names,
    flows: FlowTable,
    connections: Connections,
    /// Connections found to go elsewhere: what was copied before the kernel knew is not read.
    elsewhere: Recent<Handle, ()>,
    libraries: Recent<ProcessKey, TlsLibrary>,
    /// Probed libraries by number.
    probed: Recent<u32, TlsLibrary>,
    swept_ns: u64,
    sessions: Sessions,
    detector: Detector,
    origins: Origins,
    watch: credential_files::Watch,
    counts: Counts,
    out: Vec<Output>,
    /// What plaintext told, when somebody records it.
    decoded: Option<Vec<Event>>,
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
            workloads: Workloads::default(),
            names: Names::default(),
            flows: FlowTable::default(),
            connections: Connections::default(),
            elsewhere: Recent::new(limits::MAX_ELSEWHERE),
            libraries: Recent::new(limits::MAX_LIBRARIES),
            probed: Recent::new(limits::MAX_PROBED),
            swept_ns: 0,
            sessions: Sessions::default(),
            detector: Detector::new(Arc::default()),
            origins: Origins::default(),
            watch: credential_files::Watch::default(),
            counts: Counts::default(),
            out: Vec::new(),
            decoded: None,
        }
    }

    /// Takes one event; what follows from it is in [`Attribution::outputs`].
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Clock { offset_ns } => {
                self.clock_ns = offset_ns;
                self.processes.clock_ns = offset_ns;
            }
            Event::Fork { time_ns, parent, child } => {
                self.at(time_ns);
                self.processes.fork(parent, child);
                self.forked(child);
                self.origins.fork(parent, child, time_ns);
            }
            Event::Exec { time_ns, task, parent, mut image } => {
                self.at(time_ns);
                image.args = self.presentable(image.args);
                let agent = self.kit.catalogue.agents().find(&image.exe, &image.args);
                self.processes.exec(&task, parent, image);
                self.runs(task.process, agent);
                // Only a container runtime moves a process between fork and exec, and never out of a container.
                let member = self.processes.get(task.process).and_then(|process| process.member);
                if member.is_some_and(|member| !self.workloads.is_container(member)) {
                    self.processes.set_member(task.process, None);
                }
            }
            Event::Exit { time_ns, process } => self.exited(process, time_ns),
            Event::Running { pid, start_ns, tick_ns, parent, uid, mut image, cgroup } => {
                image.args = self.presentable(image.args);
                let key = ProcessKey { pid, start_ns };
                let agent = self.kit.catalogue.agents().find(&image.exe, &image.args);
                self.origins.running(key, tick_ns, parent);
                self.processes.running(key, tick_ns, parent, uid, image, &cgroup);
                self.processes.label(key, agent);
            }
            Event::Cgroup { id, path } => {
                let now = self.wall(self.now_ns);
                self.workloads.cgroup(CgroupKey { hierarchy: 0, id }, path, now);
            }
            Event::Existing { flow } => {
                if let Some(known) = self.flows.get_or_add(&flow) {
                    known.pre_existing = true;
                    self.route(&flow, None);
                }
            }
            Event::Connect { time_ns, flow } => {
                self.at(time_ns);
                if !self.asks_metadata(&flow) {
                    self.out.push(Output::Caller(flow.task.process));
                }
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
            Event::Tls {
                time_ns,
                task,
                connection,
                by_random,
                cookie,
                direction,
                position,
                probe,
                bytes,
            } => {
                self.at(time_ns);
                let piece = Piece { task: &task, direction, position, bytes: &bytes, time_ns };
                self.plaintext(connection, by_random, cookie, probe, piece);
            }
            Event::Cleartext { time_ns, cookie, direction, position, bytes } => {
                self.at(time_ns);
                self.packet(cookie, direction, position, bytes);
            }
            Event::Probed { probe, library } => self.probed.insert(probe, library),
            Event::Library { process, library } => self.libraries.insert(process, library),
            Event::Decoded { time_ns, what } => {
                self.at(time_ns);
                self.replay(what);
            }
            Event::Watching => self.watching(),
            Event::CredentialFile { time_ns, opener, access, file } => {
                self.at(time_ns);
                self.credential_file(time_ns, opener, access, file);
            }
            Event::Environment { time_ns, process, found, unread } => {
                self.environment(time_ns, process, found, unread);
            }
            Event::Tick { time_ns } => self.tick(time_ns),
            Event::Member { process, cgroup, path } => {
                let now = self.wall(self.now_ns);
                self.workloads.cgroup(cgroup, path, now);
                self.processes.set_member(process, Some(cgroup));
            }
            Event::CgroupGone { time_ns, cgroup } => {
                self.at(time_ns);
                self.workloads.gone(cgroup, self.now_ns, self.wall(self.now_ns));
            }
            Event::Identity(mut answer) => {
                // People put anything into labels.
                for (key, value) in answer.facts.iter_mut().flat_map(|facts| &mut facts.labels) {
                    let clean = self.kit.redactor.redact_text(&format!("{key}={value}"));
                    *value = clean.strip_prefix(&format!("{key}=")).map_or(clean.clone(), str::to_owned);
                }
                self.workloads.answer(*answer, self.now_ns);
            }
            Event::Source { source, state } => self.workloads.source(source, state),
        }
    }

    /// The providers it knows.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.kit.catalogue.clone()
    }

    /// What the events so far led to, in order; handed out once.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Ends everything that is still open, at the end of a run.
    pub fn finish(&mut self) {
        for connection in self.connections.select(|_| true) {
            self.end_connection(connection, "the sensor stopped");
        }
        self.settle_quic(0);
        self.tell_waiting(u64::MAX);
        self.repeated_opens();
        for flow in self.flows.drain() {
            self.flow_record(flow, None);
        }
        self.finish_sessions();
        let findings = self.detector.settle();
        self.found(findings);
    }

    /// What the detector holds calls against from now on.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.detector.set_policy(policy);
    }

    /// Takes a record of an earlier run, so that nothing it led to is forgotten or told again.
    pub fn restore(&mut self, record: &Record) {
        self.detector.restore(record);
    }

    /// Numbers go on with this one, after an earlier run of the same boot.
    pub fn resume(&mut self, next_seq: u64) {
        self.seq = self.seq.max(next_seq.saturating_sub(1));
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
        let (cgroups, subjects) = self.workloads.len();
        (counts.cgroups, counts.identities) = (cgroups as u64, subjects as u64);
        counts.processes_evicted = self.processes.dropped.evicted;
        counts.flows_refused = self.flows.refused;
        counts.sessions = self.sessions.len() as u64;
        counts.sessions_refused = self.sessions.refused;
        counts.holders = self.origins.len() as u64;
        counts.holders_refused = self.origins.refused;
        counts
    }

    fn at(&mut self, time_ns: u64) {
        self.now_ns = self.now_ns.max(time_ns);
    }

    fn tick(&mut self, time_ns: u64) {
        self.at(time_ns);
        self.tell_sessions();
        let now = self.now_ns;
        self.tell_waiting(now);
        if now < self.swept_ns.saturating_add(limits::SWEEP_NS) {
            return;
        }
        self.swept_ns = now;
        let findings = self.detector.tick(self.wall(now));
        self.found(findings);
        self.repeated_opens();
        self.processes.expire(now);
        self.origins.expire(now);
        self.sweep_sessions();
        self.settle_quic(limits::QUIC_WAIT_NS);
        self.workloads.expire(now);
        let idle = |last_ns: u64| last_ns.saturating_add(limits::IDLE_NS) < now;
        for connection in self.connections.select(|known| idle(known.last_ns)) {
            self.end_connection(connection, "nothing was read or written for a long time");
        }
        // The kernel tells of no end for sockets older than the sensor, and an end may be lost.
        let (flows, processes) = (&self.flows, &self.processes);
        let gone = flows.select(|flow| {
            let alive = processes.is_alive(flow.info.task.process);
            !alive && (flow.pre_existing || idle(flow.last_ns))
        });
        for cookie in gone {
            if let Some(flow) = self.flows.remove(cookie) {
                self.flow_record(flow, None);
            }
        }
    }

    fn exited(&mut self, process: ProcessKey, time_ns: u64) {
        self.at(time_ns);
        self.processes.exit(process, time_ns);
        self.origins.exit(process, time_ns);
        // A bound connection ends with its flow, whose last bytes may be told after this.
        for connection in self.connections.unbound(process) {
            self.end_connection(connection, "the process ended");
        }
        self.end_sessions(process, time_ns);
    }

    fn presentable(&self, args: Vec<String>) -> Vec<String> {
        arguments::presentable(self.kit.redactor.redact_args(args))
    }

    /// A process is seen to call a model.
    fn called(&mut self, process: ProcessKey) {
        self.out.push(Output::Caller(process));
        let image = self.processes.get(process).and_then(|process| process.image.clone());
        if let Some(image) = image.filter(|image| image.file != FileId::default()) {
            self.out.push(Output::Learned(image.file));
        }
    }

    fn call_record(&mut self, name: Name, cookie: u64, unbound_reason: &str, call: Finished) {
        self.tell_call(name, cookie, unbound_reason, &call);
        let process = call.task.process;
        let (started, started_ns) = (self.wall(call.started_ns), call.started_ns);
        let cleartext = matches!(name, Name::Cleartext(_));
        let mut model_call = self.model_call(cookie, unbound_reason, cleartext, call);
        self.enter_session(process, &mut model_call);
        self.counts.calls += 1;
        self.counts.calls_unbound += u64::from(cookie == 0);
        match self.flows.get_mut(cookie) {
            Some(flow) => {
                flow.calls += 1;
                if flow.credential.is_none() {
                    flow.credential.clone_from(&model_call.credential);
                }
            }
            None => self.called(process),
        }
        self.emit_call(started, process, started_ns, model_call);
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
        let findings = self.detector.record(&record);
        self.out.push(Output::Record(Box::new(record)));
        self.found(findings);
    }

    fn found(&mut self, findings: Vec<v1::Finding>) {
        for finding in findings {
            self.emit_at(self.detector.now(), Body::Finding(finding));
        }
    }

    /// Calendar time of a kernel time.
    fn wall(&self, time_ns: u64) -> u64 {
        time_ns.saturating_add_signed(self.clock_ns)
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

#[cfg(test)]
mod tests;
