//! What happened to a credential, a workload or a session, in order: the view for an incident.

pub mod html;
mod picture;
pub mod terminal;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use attribution::filter::{Field, Filter};
use proto::v1::{CredentialAccess, Finding, Flow, ModelCall, Process, Record, Session, record::Body};

use crate::sink::compact::text;

/// Most events that are kept; the oldest stay, the rest is counted.
const MAX_EVENTS: usize = 100_000;
/// Most pairs of key and workload that are kept; the rest is counted.
const MAX_PAIRS: usize = 4096;

/// The view.
#[derive(Debug, Default)]
pub struct Timeline {
    /// What happened, oldest first.
    pub events: Vec<Event>,
    /// Who used which key.
    pub uses: BTreeMap<Pair, Use>,
    /// Events and pairs that did not fit.
    pub left_out: u64,
    /// Root processes of the sessions asked for: what their families opened belongs to them.
    roots: HashSet<(u32, u64)>,
}

/// A key (shown form) and a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Fingerprint.
    pub key: String,
    /// Workload.
    pub workload: String,
}

/// What a workload did with a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Calls.
    pub calls: u64,
    /// Tokens, as far as they are known.
    pub tokens: u64,
}

/// Kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A process opened a credential file.
    Opened,
    /// A session began.
    Started,
    /// A connection whose calls cannot be seen.
    Connected,
    /// A model call.
    Called,
    /// A finding.
    Found,
    /// A session ended.
    Ended,
}

/// One line of the view. All text is safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, nanoseconds since the epoch.
    pub time: u64,
    /// What kind.
    pub what: What,
    /// Who, by program and process id.
    pub who: String,
    /// In which workload.
    pub workload: String,
    /// What exactly.
    pub detail: String,
    /// Programs from the oldest ancestor to the process itself.
    pub lineage: String,
    /// Host and number of the record that says so.
    pub evidence: String,
}

impl What {
    /// Short name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "credential opened",
            Self::Started => "session started",
            Self::Connected => "connection",
            Self::Called => "call",
            Self::Found => "finding",
            Self::Ended => "session ended",
        }
    }
}

impl Timeline {
    /// Takes what `filter` asks for out of `records`, and what the sessions that it asks for opened.
    pub fn collect(
        filter: &Filter,
        records: impl Iterator<Item = anyhow::Result<Record>>,
        mut bad: impl FnMut(anyhow::Error),
    ) -> Self {
        let mut timeline = Self::default();
        let by_session = Self::needs_all(filter);
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    bad(error);
                    continue;
                }
            };
            if filter.matches(&record) {
                if let Some(process) = record.session().and_then(|session| session.process.as_ref())
                    && by_session
                {
                    timeline.roots.insert((process.pid, process.start_time));
                }
                timeline.add(&record);
            } else if by_session && timeline.belongs(&record) {
                timeline.add(&record);
            }
        }
        // By the number after the time: what happened in one instant stays in order.
        timeline.events.sort_by_key(|event| event.time);
        timeline
    }

    /// Whether `filter` asks for a session: what its processes opened does not name it, so that all records
    /// have to be looked at.
    pub fn needs_all(filter: &Filter) -> bool {
        filter.terms.iter().any(|term| term.field == Field::Session && !term.not)
    }

    /// Whether a family of a session that is shown did it.
    fn belongs(&self, record: &Record) -> bool {
        matches!(record.body, Some(Body::CredentialAccess(_) | Body::Finding(_)))
            && record.processes().any(|process| {
                let ancestors = process.ancestors.iter().map(|one| (one.pid, one.start_time));
                ancestors.chain([(process.pid, process.start_time)]).any(|one| self.roots.contains(&one))
            })
    }

    fn add(&mut self, record: &Record) {
        let Some((time, what, detail)) = told(record) else { return };
        if let Some(call) = record.model_call() {
            self.used(record, call);
        }
        if self.events.len() >= MAX_EVENTS {
            self.left_out += 1;
            return;
        }
        let process = record.process();
        self.events.push(Event {
            time,
            what,
            who: process.map(|_| text::process(process, usize::MAX)).unwrap_or_default(),
            workload: process.map(|_| text::workload(record.workload(), process)).unwrap_or_default(),
            detail,
            lineage: process.map(lineage).unwrap_or_default(),
            evidence: record
                .place()
                .map(|(host, _, seq)| format!("{}#{seq}", text::field(host)))
                .unwrap_or_default(),
        });
    }

    fn used(&mut self, record: &Record, call: &ModelCall) {
        let Some(credential) = &call.credential else { return };
        let workload = match &call.workload {
            Some(workload) if workload.kind != "user" && !workload.id.is_empty() => text::field(&workload.id),
            _ => text::workload(call.workload.as_ref(), call.process.as_ref()),
        };
        let pair = Pair { key: text::field(&credential.fingerprint), workload };
        if self.uses.len() >= MAX_PAIRS && !self.uses.contains_key(&pair) {
            self.left_out += 1;
            return;
        }
        let tokens = record.tokens();
        let count = |count: Option<u64>| count.unwrap_or(0);
        let used = self.uses.entry(pair).or_default();
        used.calls += 1;
        used.tokens = used.tokens.saturating_add(
            tokens.map_or(0, |tokens| count(tokens.input).saturating_add(count(tokens.output))),
        );
    }
}

/// When, what and the words for it; nothing for records that tell nothing of their own here.
fn told(record: &Record) -> Option<(u64, What, String)> {
    let or = |time: u64| if time == 0 { record.time } else { time };
    Some(match record.body.as_ref()? {
        Body::CredentialAccess(access) => (record.time, What::Opened, access_text(access)),
        Body::ModelCall(call) => (or(call.started), What::Called, call_text(call)),
        Body::Finding(finding) => (or(finding.last_seen), What::Found, finding_text(finding)),
        Body::Session(session) if session.state == "ended" => {
            (or(session.ended), What::Ended, ended_text(session))
        }
        Body::Session(session) => (or(session.started), What::Started, text::known(&session.agent)),
        Body::Flow(flow) => (or(flow.opened), What::Connected, flow_text(flow)?),
        Body::Status(_) => return None,
    })
}

fn access_text(access: &CredentialAccess) -> String {
    let path = access.file.as_ref().map(|file| text::known(&file.path)).unwrap_or_default();
    let keys: Vec<String> = access.credentials.iter().map(|key| text::key(Some(key))).collect();
    let unexpected = if access.expectation == "unexpected" { ", not a program expected to" } else { "" };
    let holds = if keys.is_empty() { String::new() } else { format!(" ({})", keys.join(", ")) };
    format!("{} {path}{holds}{unexpected}", text::known(&access.mode))
}

fn call_text(call: &ModelCall) -> String {
    let provider = call.endpoint.as_ref().map(|endpoint| endpoint.provider.as_str()).unwrap_or_default();
    let model = if call.model_served.is_empty() { &call.model_requested } else { &call.model_served };
    let mut words = vec![
        format!("{}/{}", text::known(provider), text::known(model)),
        text::field(&call.operation),
        call.status.map_or_else(|| text::UNKNOWN.to_owned(), |status| status.to_string()),
    ];
    if let Some(tokens) = &call.tokens
        && tokens.input.or(tokens.output).is_some()
    {
        let count =
            |count: Option<u64>| count.map_or_else(|| text::UNKNOWN.to_owned(), |count| count.to_string());
        words.push(format!("{}→{} tokens", count(tokens.input), count(tokens.output)));
    }
    words.push(text::key(call.credential.as_ref()));
    if call.orphaned {
        words.push("after its session ended".into());
    }
    if call.binding == "unbound" {
        words.push("unbound".into());
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn finding_text(finding: &Finding) -> String {
    let state =
        if finding.state.is_empty() { String::new() } else { format!(" ({})", text::field(&finding.state)) };
    format!(
        "{} {}: {}{state}",
        text::known(&finding.severity).to_uppercase(),
        text::known(&finding.rule),
        text::sentence(&finding.title)
    )
}

fn ended_text(session: &Session) -> String {
    let mut words = vec![text::known(&session.agent), format!("{} calls", session.calls)];
    if let Some(tokens) = &session.tokens {
        let sum = tokens.input.unwrap_or(0).saturating_add(tokens.output.unwrap_or(0));
        words.push(format!("{sum} tokens"));
    }
    if let Some(cost) = &session.cost {
        words.push(format!("{} {}", text::field(&cost.amount), text::field(&cost.currency)));
    }
    if session.orphaned_calls > 0 {
        words.push(format!("{} calls after its end", session.orphaned_calls));
    }
    words.push(text::field(&session.end_reason));
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

/// Only flows whose calls cannot be seen tell something that calls do not.
fn flow_text(flow: &Flow) -> Option<String> {
    let tls = flow.tls.as_ref().filter(|tls| tls.coverage == "none")?;
    let endpoint = flow.endpoint.as_ref()?;
    let host = if endpoint.host.is_empty() { &endpoint.address } else { &endpoint.host };
    Some(format!(
        "{}:{}, calls not seen: {}",
        text::known(host),
        endpoint.port,
        text::field(&tls.coverage_reason)
    ))
}

/// `systemd → bash → codex[7]`.
fn lineage(process: &Process) -> String {
    let file = |exe: &str| text::known(exe.rsplit('/').next().unwrap_or_default());
    let ancestors = process.ancestors.iter().rev().map(|ancestor| file(&ancestor.exe));
    ancestors.chain([text::process(Some(process), usize::MAX)]).collect::<Vec<_>>().join(" → ")
}
