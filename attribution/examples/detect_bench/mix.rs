//! The records of a fleet as its sensors write them: services that run agents, which call models over connections of
//! a few calls each; sessions begin and end, connections close, sensors report, a few keys are shared.

use fastrand::Rng;
use proto::v1::{
    Ancestor, Cost, Credential, CredentialAccess, CredentialFile, Endpoint, Flow, ModelCall, Process, Record,
    Sensor, Session, Status, Tls, Tokens, Workload, record::Body,
};

/// 2026-03-10.
pub(crate) const START: u64 = 20_522 * 86_400_000_000_000;
/// One service in so many uses the key of the service before it.
const SHARED: u64 = 40;
/// Records of a host between two reports of its sensor, and calls between two opens of a credential file.
const STATUS: u64 = 500;
const OPENS: u64 = 500;
const PROVIDERS: [(&str, &str, [&str; 2]); 3] = [
    ("openai", "api.openai.com", ["gpt-5", "gpt-5-mini"]),
    ("anthropic", "api.anthropic.com", ["claude-sonnet-4-5", "claude-haiku-4-5"]),
    ("google", "generativelanguage.googleapis.com", ["gemini-2.5-pro", "gemini-2.5-flash"]),
];

/// One service of one host.
struct Service {
    number: u64,
    host: u64,
    process: Process,
    workload: Workload,
    credential: Credential,
    session: String,
    /// Calls until its agent ends and another begins.
    calls: u64,
    flow: u64,
    flow_calls: u64,
}

/// Records without end, oldest first.
pub(crate) struct Mix {
    /// The same numbers in every run.
    chance: Rng,
    services: Vec<Service>,
    /// Next sequence number of each host.
    seqs: Vec<u64>,
    time: u64,
    /// Mean time between two calls, nanoseconds.
    step: u64,
    flows: u64,
    runs: u64,
    ready: Vec<Record>,
}

impl Mix {
    /// `services` on `hosts`, one call every `step` nanoseconds.
    pub(crate) fn new(hosts: u64, services: u64, step: u64) -> Self {
        let chance = Rng::with_seed(1);
        let services = (0..services).map(|number| Service::new(number, number % hosts)).collect();
        let seqs = vec![1; hosts as usize];
        Self { chance, services, seqs, time: START, step, flows: 0, runs: 0, ready: Vec::new() }
    }

    fn add(&mut self, host: u64, body: Body) {
        let mut record = Record::new(self.time, body);
        let Some(seq) = self.seqs.get_mut(host as usize) else { return };
        record.sensor = Some(Sensor {
            host: format!("host-{host}"),
            boot_id: format!("5f3c1d0e-8f5e-4b62-9d0b-{host:012x}"),
            seq: *seq,
        });
        *seq += 1;
        let due = seq.is_multiple_of(STATUS);
        self.ready.push(record);
        if due {
            let produced = *seq * 40;
            let status = Status { since: START, produced, delivered: produced, ..Status::default() };
            self.add(host, Body::Status(status));
        }
    }

    /// What comes next: one call, and what belongs to it.
    fn step(&mut self) {
        self.time += self.chance.u64(..2 * self.step);
        // Some services are much busier than others.
        let count = self.services.len() as u64;
        let busy = self.chance.u64(..count).min(self.chance.u64(..count)) as usize;
        let Some(mut service) = self.services.get_mut(busy).map(std::mem::take) else { return };
        if service.calls == 0 {
            self.run(&mut service);
        }
        if service.flow_calls == 0 {
            if service.flow > 0 {
                self.add(service.host, Body::Flow(Box::new(service.closed(self.time))));
            }
            self.flows += 1;
            (service.flow, service.flow_calls) = (self.flows, 1 + self.chance.u64(..9));
        }
        service.calls -= 1;
        service.flow_calls -= 1;
        let call = service.call(&mut self.chance, self.time);
        self.add(service.host, Body::ModelCall(Box::new(call)));
        if self.chance.u64(..OPENS) == 0 {
            self.add(service.host, Body::CredentialAccess(Box::new(service.open())));
        }
        if service.calls == 0 {
            self.add(service.host, Body::Session(Box::new(service.session(self.time, "ended"))));
        }
        if let Some(place) = self.services.get_mut(busy) {
            *place = service;
        }
    }

    /// Another agent of the service begins.
    fn run(&mut self, service: &mut Service) {
        self.runs += 1;
        service.session = format!("ses-{:010x}", self.runs);
        service.process.pid = 300 + self.chance.u64(..60_000) as u32;
        service.process.start_time = self.time;
        service.calls = 1 + self.chance.u64(..200);
        (service.flow, service.flow_calls) = (0, 0);
        self.add(service.host, Body::Session(Box::new(service.session(self.time, "started"))));
    }
}

impl Iterator for Mix {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.ready.is_empty() {
            self.step();
            self.ready.reverse();
        }
        self.ready.pop()
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Service {
    fn new(number: u64, host: u64) -> Self {
        let (unit, exe) = (format!("agent-{number}.service"), format!("/opt/agents/{number}/bin/worker"));
        // Every third runs in Kubernetes.
        let (id, kind, cgroup) = if number.is_multiple_of(3) {
            let pod =
                format!("/kubepods.slice/kubepods-pod{number:032x}.slice/cri-containerd-{number:064x}.scope");
            (format!("k8s://prod/team-{}/deployment/agent-{number}", number % 20), "k8s", pod)
        } else {
            (format!("systemd://host-{host}/{unit}"), "systemd", format!("/system.slice/{unit}"))
        };
        let ancestor = |pid, exe: &str| Ancestor { pid, start_time: START, exe: exe.into() };
        let key = number - u64::from(number % SHARED == 1);
        let (provider, ..) = PROVIDERS[(number % 3) as usize];
        Self {
            number,
            host,
            process: Process {
                exe: exe.clone(),
                comm: "worker".into(),
                args: vec![exe, "--queue".into(), format!("team-{}", number % 20)],
                uid: Some(1000),
                ancestors: vec![ancestor(200, "/usr/bin/bash"), ancestor(1, "/usr/lib/systemd/systemd")],
                cgroup,
                cgroup_id: Some(4000 + number),
                ..Process::default()
            },
            workload: Workload { id, kind: kind.into(), name: unit, ..Workload::default() },
            credential: Credential {
                fingerprint: format!("kw1-a1b2c3d4-{key:026}"),
                provider: provider.into(),
                kind: "api_key".into(),
                lifetime: "static".into(),
                hint: format!("sk-…{:04x}", key % 65_536),
                carrier: "header:authorization".into(),
                evidence: "wire".into(),
                ..Credential::default()
            },
            session: String::new(),
            calls: 0,
            flow: 0,
            flow_calls: 0,
        }
    }

    fn endpoint(&self) -> Endpoint {
        let (provider, host, _) = PROVIDERS[(self.number % 3) as usize];
        Endpoint {
            provider: provider.into(),
            host: host.into(),
            host_evidence: "sni".into(),
            address: "203.0.113.7".into(),
            port: 443,
            ..Endpoint::default()
        }
    }

    fn call(&self, chance: &mut Rng, time: u64) -> ModelCall {
        let (.., models) = PROVIDERS[(self.number % 3) as usize];
        let (input, output) = (200 + chance.u64(..2000) * chance.u64(..10), 20 + chance.u64(..900));
        ModelCall {
            flow_id: self.flow.to_string(),
            binding: "client_random".into(),
            operation: "chat".into(),
            model_requested: models[(chance.u64(..8) == 0) as usize].into(),
            status: Some(if chance.u64(..200) == 0 { 429 } else { 200 }),
            stream: Some(true),
            tokens: Some(Tokens {
                input: Some(input),
                output: Some(output),
                quality: "exact".into(),
                ..Tokens::default()
            }),
            cost: Some(Cost {
                amount: format!("0.{:06}", input + 8 * output),
                currency: "USD".into(),
                basis: "list_price".into(),
                ..Cost::default()
            }),
            started: time,
            duration_ms: Some(400 + chance.u64(..6000)),
            request_id: format!("req_{:016x}", chance.u64(..)),
            session: self.session.clone(),
            process: Some(self.process.clone()),
            workload: Some(self.workload.clone()),
            credential: Some(self.credential.clone()),
            endpoint: Some(self.endpoint()),
            ..ModelCall::default()
        }
    }

    fn closed(&self, time: u64) -> Flow {
        Flow {
            id: self.flow.to_string(),
            endpoint: Some(self.endpoint()),
            process: Some(self.process.clone()),
            workload: Some(self.workload.clone()),
            bytes_sent: Some(20_000),
            bytes_received: Some(40_000),
            opened: time,
            closed: time,
            direction: "egress".into(),
            credential: Some(self.credential.clone()),
            protocol: "tcp".into(),
            tls: Some(Tls { coverage: "plaintext".into(), ..Tls::default() }),
            ..Flow::default()
        }
    }

    fn session(&self, time: u64, state: &str) -> Session {
        Session {
            id: self.session.clone(),
            state: state.into(),
            started: time,
            process: Some(self.process.clone()),
            workload: Some(self.workload.clone()),
            credentials: vec![self.credential.fingerprint.clone()],
            ..Session::default()
        }
    }

    fn open(&self) -> CredentialAccess {
        CredentialAccess {
            process: Some(self.process.clone()),
            workload: Some(self.workload.clone()),
            file: Some(CredentialFile {
                path: format!("/etc/agents/{}/key", self.number),
                inode: self.number,
                ..CredentialFile::default()
            }),
            mode: "read".into(),
            expectation: if self.number.is_multiple_of(50) { "unexpected" } else { "expected" }.into(),
            credentials: vec![self.credential.clone()],
            count: 1,
            ..CredentialAccess::default()
        }
    }
}
