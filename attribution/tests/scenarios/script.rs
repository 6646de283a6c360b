//! How a scenario is written.
//!
//! ```toml
//! [[scenario]]
//! name = "what happens"
//! who.a = { id = "systemd://h1/agent.service", exe = "/usr/bin/agent" }   # also: host, uid, cgroup, parents, labels
//! steps = ["0s a calls key=k1", "5m a calls key=k1 model=gpt-5 tokens=100 repeat=20 every=1s"]
//! until = "1d"                             # time of the end, unless it is the last step's
//! policy = "…"                             # a policy file; KEY1 stands for the fingerprint of key=k1
//! expect = ["shared-credential medium: part of the title"]
//! ```
//!
//! A step is: time since the start, who, what (`calls`, `flows`, `opens`, `status`), and details as `name=value`.
//! `run=2` is another process of the same program, `run=each` another one each time.

use std::{collections::BTreeMap, sync::Arc};

use attribution::policy::Policy;
use proto::v1::{
    Ancestor, Cost, Credential, CredentialAccess, CredentialFile, Endpoint, Flow, Gap, HookState, Loss,
    ModelCall, Origin, Process, Record, Sensor, SensorReport, Source, Status, Tls, Tokens, Workload,
    record::Body,
};
use serde::Deserialize;

/// 2026-03-10, a Tuesday.
const START: u64 = 20_522 * 86_400 * S;
const S: u64 = 1_000_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub scenario: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub name: String,
    #[serde(default)]
    who: BTreeMap<String, Who>,
    steps: Vec<String>,
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    policy: String,
    pub expect: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Who {
    id: String,
    exe: String,
    host: String,
    cgroup: String,
    uid: u32,
    parents: Vec<String>,
    labels: BTreeMap<String, String>,
}

pub(crate) struct Story {
    pub records: Vec<Record>,
    pub policy: Arc<Policy>,
    pub end: u64,
}

struct Step<'a> {
    what: &'a str,
    more: BTreeMap<&'a str, &'a str>,
}

impl Scenario {
    pub(crate) fn story(&self) -> Story {
        let text = (1..10)
            .fold(self.policy.clone(), |text, key| text.replace(&format!("KEY{key}"), &fingerprint(key)));
        let policy = Policy::parse(&text, &mut |_| Err("no files here".into()));
        let policy = policy.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let mut seqs: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut records = Vec::new();
        let mut last = START;
        for line in &self.steps {
            let mut words = line.split_whitespace();
            let at = duration(words.next().unwrap_or_else(|| panic!("{line}")));
            let name = words.next().unwrap_or_else(|| panic!("{line}"));
            let who = self.who.get(name).unwrap_or_else(|| panic!("{}: nobody is called {name}", self.name));
            let what = words.next().unwrap_or_else(|| panic!("{line}"));
            let more =
                words.map(|word| word.split_once('=').unwrap_or_else(|| panic!("{line}: {word}"))).collect();
            let step = Step { what, more };
            let every = step.more.get("every").map_or(S, |text| duration(text));
            for turn in 0..step.number("repeat").unwrap_or(1) {
                let time = START + at + turn * every;
                let host = step.text("on").unwrap_or(who.host()).to_owned();
                let boot_id = step.text("boot").unwrap_or("boot-1").to_owned();
                let seq = seqs.entry((host.clone(), boot_id.clone())).or_default();
                *seq += 1;
                let mut record = Record::new(time, step.body(time, name, who, turn));
                record.sensor = Some(Sensor { host, boot_id, seq: *seq });
                last = last.max(time);
                records.push(record);
            }
        }
        let end = self.until.as_ref().map_or(last + S, |text| START + duration(text));
        Story { records, policy: Arc::new(policy), end }
    }
}

impl Who {
    fn host(&self) -> &str {
        if self.host.is_empty() { "h1" } else { &self.host }
    }

    fn process(&self, name: &str, run: u64) -> Process {
        let base = 1000 + name.bytes().map(u32::from).sum::<u32>() * 10;
        let pid = base + u32::try_from(run).unwrap() * 7;
        let ancestors = self.parents.iter().enumerate().map(|(depth, exe)| {
            let pid = if exe.contains("systemd") { 1 } else { base + 10_000 + depth as u32 };
            Ancestor { pid, start_time: START, exe: exe.clone() }
        });
        Process {
            pid,
            start_time: START + run,
            exe: self.exe.clone(),
            uid: Some(self.uid),
            cgroup: if self.cgroup.is_empty() { format!("/{name}") } else { self.cgroup.clone() },
            ancestors: ancestors.collect(),
            ..Process::default()
        }
    }

    fn workload(&self) -> Workload {
        let kind = self.id.split("://").next().unwrap_or_default();
        let namespace = if kind == "k8s" { self.id.split('/').nth(3).unwrap_or_default() } else { "" };
        Workload {
            id: self.id.clone(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: self.id.rsplit('/').next().unwrap_or_default().into(),
            labels: self.labels.clone(),
            ..Workload::default()
        }
    }
}

impl Step<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.more.get(name).copied()
    }

    fn or(&self, name: &str, other: &str) -> String {
        self.text(name).unwrap_or(other).to_owned()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
    }

    fn body(&self, time: u64, name: &str, who: &Who, turn: u64) -> Body {
        let run = match self.text("run") {
            Some("each") => turn + 1,
            _ => self.number("run").unwrap_or(0),
        };
        let process = Some(who.process(name, run));
        let workload = (!who.id.is_empty()).then(|| who.workload());
        let endpoint = Some(Endpoint {
            provider: self.or("provider", "openai"),
            host: self.or("host", "api.openai.com"),
            host_evidence: self.or("evidence", if self.what == "flows" { "sni" } else { "http_host" }),
            address: self.or("address", "203.0.113.7"),
            port: 443,
            request_host: self.or("asks", ""),
            dns_host: self.or("dns", ""),
        });
        match self.what {
            "calls" => Body::ModelCall(Box::new(ModelCall {
                flow_id: self.or("flow", ""),
                binding: self.or("binding", "client_random"),
                operation: self.or("op", "chat"),
                model_requested: self.or("model", "gpt-5-mini"),
                status: Some(self.number("status").unwrap_or(200) as u32),
                tokens: Some(Tokens { input: Some(self.tokens(turn)), output: Some(0), ..Tokens::default() }),
                cost: self.text("usd").map(|amount| Cost { amount: amount.into(), ..Cost::default() }),
                started: time,
                session: self.or("session", ""),
                orphaned: self.text("orphaned") == Some("yes"),
                process,
                workload,
                credential: self.credential(),
                endpoint,
                source: Some(Source { address: "203.0.113.1".into(), port: 5 }),
                ..ModelCall::default()
            })),
            "flows" => Body::Flow(Box::new(Flow {
                id: self.or("flow", ""),
                endpoint,
                process,
                workload,
                credential: self.credential(),
                tls: Some(Tls {
                    coverage: self.or("coverage", "none"),
                    coverage_reason: self.or("reason", "no_known_library").replace('_', " "),
                    ..Tls::default()
                }),
                ..Flow::default()
            })),
            "opens" => Body::CredentialAccess(Box::new(CredentialAccess {
                process,
                workload,
                file: Some(CredentialFile {
                    path: self.or("file", "/home/alice/.codex/auth.json"),
                    ..Default::default()
                }),
                mode: "read".into(),
                expectation: self.or("expectation", "unexpected"),
                count: 1,
                ..CredentialAccess::default()
            })),
            "status" => Body::Status(self.status(time)),
            other => panic!("nobody can do {other}"),
        }
    }

    /// `tokens=100` or `tokens=100+7`: seven more each time.
    fn tokens(&self, turn: u64) -> u64 {
        let text = self.text("tokens").unwrap_or("10+1");
        let (base, step) = text.split_once('+').unwrap_or((text, "0"));
        base.parse::<u64>().unwrap() + turn * step.parse::<u64>().unwrap()
    }

    fn credential(&self) -> Option<Credential> {
        let key: u32 = self.text("key")?.strip_prefix('k').and_then(|key| key.parse().ok()).expect("key=k1");
        let origin = self.text("origin");
        Some(Credential {
            fingerprint: fingerprint(key),
            provider: self.or("of", &self.or("provider", "openai")),
            kind: "api_key".into(),
            lifetime: self.or("lifetime", "static"),
            hint: String::new(),
            carrier: self.or("carrier", "header:authorization"),
            evidence: if self.what == "flows" { "inferred" } else { "wire" }.into(),
            origin: origin.map(|path| Origin {
                r#type: "file".into(),
                path: path.into(),
                ..Origin::default()
            }),
        })
    }

    fn status(&self, time: u64) -> Status {
        let lost =
            self.number("lost").map(|count| Loss { kind: "tls".into(), cause: "ring_full".into(), count });
        let hook = self.text("missing").unwrap_or_default();
        let gap = self.number("gap").map(|to_seq| Gap { from_seq: 1, to_seq, ..Gap::default() });
        let report = self.text("report").map(|kind| SensorReport {
            host: self.text("about").unwrap_or("h1").into(),
            kind: kind.into(),
            detail: "told".into(),
            count: 1,
            first_seen: time,
            last_seen: time,
        });
        Status {
            reports: report.into_iter().collect(),
            since: START + self.number("since").unwrap_or(0),
            produced: self.number("produced").unwrap_or(1000),
            lost: lost.into_iter().collect(),
            hooks: vec![HookState {
                name: "connect4".into(),
                state: if hook == "connect4" { "missing" } else { "attached" }.into(),
                lost: "flows".into(),
                reason: String::new(),
            }],
            gaps: gap.into_iter().collect(),
            ..Status::default()
        }
    }
}

fn fingerprint(key: u32) -> String {
    format!("kw1-test-{}", format!("{key}").repeat(26))
}

/// `90s`, `2d3h`, `10m`.
fn duration(text: &str) -> u64 {
    let (mut sum, mut number) = (0, 0);
    for char in text.chars() {
        let unit = match char {
            '0'..='9' => {
                number = number * 10 + u64::from(char as u8 - b'0');
                continue;
            }
            's' => S,
            'm' => 60 * S,
            'h' => 3600 * S,
            'd' => 86_400 * S,
            _ => panic!("no duration: {text}"),
        };
        sum += number * unit;
        number = 0;
    }
    sum
}
