//! Model calls of a busy host: twelve services, three providers, random identifiers, times and counts.

use fastrand::Rng;
use proto::v1::{
    Ancestor, Credential, Endpoint, Flow, ModelCall, Process, Record, Sensor, Source, Status, Tokens,
    Workload, record::Body,
};

pub(crate) const BOOT: &str = "70f33f75-5292-40cb-8ee1-433011488d54";
pub(crate) const FIRST_TIME: u64 = 1_795_325_640_123_456_789;
const SERVICES: u64 = 12;
const BASE62: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASE32: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const PROVIDERS: [(&str, &str, &str, &str, &str); 3] = [
    ("openai", "api.openai.com", "gpt-5-mini", "OpenAI/Python 1.54.0", "header:authorization"),
    (
        "anthropic",
        "api.anthropic.com",
        "claude-sonnet-4-5",
        "anthropic-sdk-typescript/0.60",
        "header:x-api-key",
    ),
    (
        "google",
        "generativelanguage.googleapis.com",
        "gemini-2.5-pro",
        "google-genai-sdk/1.2",
        "header:x-goog-api-key",
    ),
];

/// A text of random letters.
fn text(chance: &mut Rng, letters: &[u8], length: usize) -> String {
    (0..length).filter_map(|_| chance.choice(letters)).map(|letter| char::from(*letter)).collect()
}

struct Service {
    number: u64,
    fingerprint: String,
    address: String,
    process: Process,
    calls_left: u64,
    flow: u64,
    port: u32,
}

impl Service {
    fn new(number: u64, chance: &mut Rng) -> Self {
        Self {
            number,
            fingerprint: format!("kw1-hp776rk7-{}", text(chance, BASE32, 26)),
            address: format!("104.18.{}.{}", chance.u64(..255), chance.u64(..255)),
            process: Process::default(),
            calls_left: 0,
            flow: 0,
            port: 0,
        }
    }

    fn unit(&self) -> String {
        format!("agent-{}.service", self.number)
    }

    fn start(&mut self, chance: &mut Rng, time: u64) {
        let exe = ["/usr/bin/node", "/usr/bin/python3.11", "/opt/agents/bin/worker"]
            .get(usize::try_from(self.number % 3).unwrap_or_default())
            .copied()
            .unwrap_or_default();
        let ancestor = |pid: u64, start_time: u64, exe: &str| Ancestor {
            pid: u32::try_from(pid).unwrap_or_default(),
            start_time,
            exe: exe.to_owned(),
        };
        let start_time = time - chance.u64(..1_000_000_000);
        self.process = Process {
            pid: u32::try_from(300 + chance.u64(..60_000)).unwrap_or_default(),
            start_time,
            exe: exe.to_owned(),
            comm: exe.rsplit('/').next().unwrap_or_default().to_owned(),
            args: [exe.to_owned(), format!("/srv/agents/{}/main", self.number), "--queue".into()].to_vec(),
            uid: u32::try_from(1000 + self.number).ok(),
            ancestors: vec![
                ancestor(
                    300 + chance.u64(..60_000),
                    start_time - chance.u64(..100_000_000_000),
                    "/usr/bin/bash",
                ),
                ancestor(1, FIRST_TIME - 3_600_000_000_000, "/usr/lib/systemd/systemd"),
            ],
            cgroup: format!("/system.slice/{}", self.unit()),
            cgroup_id: Some(4000 + 37 * self.number),
            ..Default::default()
        };
        self.calls_left = 1 + chance.u64(..60);
        self.flow = 0;
    }

    fn workload(&self) -> Workload {
        Workload {
            id: format!("systemd://db-1/{}", self.unit()),
            kind: "systemd".into(),
            name: self.unit(),
            unit: self.unit(),
            evidence: "cgroup_path".into(),
            ..Default::default()
        }
    }

    fn call(&self, chance: &mut Rng, time: u64) -> ModelCall {
        let (provider, host, model, agent, carrier) =
            PROVIDERS.get(usize::try_from(self.number % 3).unwrap_or_default()).copied().unwrap_or_default();
        // Sums of evenly spread numbers, so that small ones are common and large ones are not rare.
        let input = 200 + chance.u64(..2000) * chance.u64(..10);
        let duration = 400 + chance.u64(..6000);
        ModelCall {
            flow_id: self.flow.to_string(),
            binding: "client_random".into(),
            operation: "chat".into(),
            model_requested: model.into(),
            model_served: format!("{model}-2026-01-01"),
            status: Some(200),
            stream: Some(true),
            tokens: Some(Tokens {
                input: Some(input),
                output: Some(20 + chance.u64(..900)),
                cache_read: (chance.u64(..2) == 0).then_some(input / 2 + chance.u64(..input / 2)),
                quality: "exact".into(),
                ..Default::default()
            }),
            started: time,
            duration_ms: Some(duration),
            ttfb_ms: Some(100 + chance.u64(..duration / 2)),
            request_id: format!("req_{}", text(chance, BASE62, 24)),
            user_agent: agent.into(),
            process: Some(self.process.clone()),
            workload: Some(self.workload()),
            credential: Some(Credential {
                fingerprint: self.fingerprint.clone(),
                provider: provider.into(),
                kind: "api_key".into(),
                lifetime: "static".into(),
                hint: "sk-proj-…1234".into(),
                carrier: carrier.into(),
                evidence: "wire".into(),
                origin: None,
            }),
            endpoint: Some(Endpoint {
                provider: provider.into(),
                host: host.into(),
                host_evidence: "sni".into(),
                address: self.address.clone(),
                port: 443,
                ..Default::default()
            }),
            source: Some(Source { address: "10.0.3.17".into(), port: self.port }),
            ..Default::default()
        }
    }

    fn closed(&self, chance: &mut Rng, time: u64, call: &ModelCall) -> Flow {
        Flow {
            id: self.flow.to_string(),
            source: call.source.clone(),
            endpoint: call.endpoint.clone(),
            process: call.process.clone(),
            workload: call.workload.clone(),
            bytes_sent: Some(2000 + chance.u64(..200_000)),
            bytes_received: Some(2000 + chance.u64(..400_000)),
            opened: time - chance.u64(..60_000_000_000),
            closed: time,
            direction: "egress".into(),
            credential: call.credential.clone(),
            protocol: "tcp".into(),
            ..Default::default()
        }
    }
}

/// `count` lines; with `mix`, flows and status records between the calls.
pub(crate) fn lines(count: u64, mix: bool) -> Vec<Vec<u8>> {
    // The same in every run.
    let mut chance = Rng::with_seed(1);
    let mut services: Vec<Service> = (0..SERVICES).map(|number| Service::new(number, &mut chance)).collect();
    let (mut time, mut flow) = (FIRST_TIME, 100);
    let mut lines = Vec::new();
    let add = |lines: &mut Vec<Vec<u8>>, time: u64, body: Body| {
        let mut record = Record::new(time, body);
        let seq = lines.len() as u64 + 1;
        record.sensor = Some(Sensor { host: "db-1".into(), boot_id: BOOT.into(), seq });
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        lines.push(line);
    };
    while (lines.len() as u64) < count {
        time += chance.u64(..40_000_000);
        let busy = chance.u64(..SERVICES).min(chance.u64(..SERVICES));
        let Some(service) = usize::try_from(busy).ok().and_then(|at| services.get_mut(at)) else { continue };
        if service.calls_left == 0 {
            service.start(&mut chance, time);
        }
        service.calls_left -= 1;
        if service.flow == 0 || chance.u64(..5) == 0 {
            flow += 1;
            service.flow = flow;
            service.port = u32::try_from(32_768 + chance.u64(..28_000)).unwrap_or_default();
        }
        let call = service.call(&mut chance, time);
        let closed = (mix && chance.u64(..5) == 0).then(|| service.closed(&mut chance, time, &call));
        add(&mut lines, time, Body::ModelCall(Box::new(call)));
        if let Some(closed) = closed {
            add(&mut lines, time, Body::Flow(Box::new(closed)));
        }
        if mix && lines.len().is_multiple_of(500) {
            let produced = lines.len() as u64 * 40;
            add(
                &mut lines,
                time,
                Body::Status(Status { produced, delivered: produced, ..Default::default() }),
            );
        }
    }
    lines
}
