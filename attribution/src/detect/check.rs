//! What rules are given, and what they answer.

use proto::v1::{Credential, Participant, Process, Workload};

use super::rules::{RULES, Rule, Severity};
use super::state::State;
use super::state::access::Access;
use super::state::buckets::DAY_NS;
use super::state::credential::{Cred, Sample, Use};
use super::state::principal::Principal;
use super::state::sensor::Sensor;
use super::state::session::Session;
use super::state::span::{Evidence, Span};
use crate::policy::{Place, Policy, RuleSettings};

/// A check of one subject: name and state in, what is wrong out.
pub(super) type Of<T> = fn(&Cx<'_>, At<'_>, &str, &T, &mut Vec<Draft>);
/// A check of no single subject.
type OfAll = fn(&Cx<'_>, At<'_>, &mut Vec<Draft>);

/// A rule looks at subjects of one or more kinds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    Credential(Of<Cred>),
    Principal(Of<Principal>),
    Session(Of<Session>),
    Access(Of<Access>),
    Sensor(Of<Sensor>),
    /// About no single subject; looked at when time has passed.
    All(OfAll),
}

/// The checks of the rules that the policy runs, by what they look at, each with the place of its rule in [`RULES`].
#[derive(Debug)]
pub(super) struct Checks {
    pub(super) credential: Vec<(usize, Of<Cred>)>,
    pub(super) principal: Vec<(usize, Of<Principal>)>,
    pub(super) session: Vec<(usize, Of<Session>)>,
    pub(super) access: Vec<(usize, Of<Access>)>,
    pub(super) sensor: Vec<(usize, Of<Sensor>)>,
    pub(super) all: Vec<(usize, OfAll)>,
}

/// What every check can ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cx<'a> {
    pub(super) policy: &'a Policy,
    pub(super) state: &'a State,
    /// Time of the records, nanoseconds since the epoch.
    pub(super) now: u64,
}

/// A rule and its settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) rule: &'static Rule,
    pub(super) settings: &'a RuleSettings,
}

/// A finding, but for what all have alike.
#[derive(Debug)]
pub(super) struct Draft {
    /// What it is about; with the rule it makes the id.
    pub(super) subject: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) credential: Option<Credential>,
    pub(super) participants: Vec<Participant>,
    pub(super) span: Span,
}

impl Checks {
    /// Those that `policy` runs.
    pub(super) fn new(policy: &Policy) -> Self {
        let (mut credential, mut principal, mut session) = (Vec::new(), Vec::new(), Vec::new());
        let (mut access, mut sensor, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let enabled = |at: &usize| policy.settings.of(*at).is_some_and(|settings| settings.enabled);
        for (at, rule) in (0..).zip(&RULES).filter(|(at, _)| enabled(at)) {
            for check in rule.checks {
                match *check {
                    Check::Credential(check) => credential.push((at, check)),
                    Check::Principal(check) => principal.push((at, check)),
                    Check::Session(check) => session.push((at, check)),
                    Check::Access(check) => access.push((at, check)),
                    Check::Sensor(check) => sensor.push((at, check)),
                    Check::All(check) => all.push((at, check)),
                }
            }
        }
        Self { credential, principal, session, access, sensor, all }
    }
}

impl At<'_> {
    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> u64 {
        let params = self.rule.params.iter().zip(&self.settings.values);
        params.into_iter().find(|(param, _)| param.name == name).map_or(0, |(_, value)| *value)
    }

    /// A parameter that counts days, in nanoseconds.
    pub(super) fn days(&self, name: &str) -> u64 {
        self.get(name).saturating_mul(DAY_NS)
    }
}

impl<'a> Cx<'a> {
    /// Whether something last seen at `last` is within the days of a parameter.
    pub(super) fn is_recent(&self, last: u64, days: u64) -> bool {
        last.saturating_add(days) >= self.now
    }

    /// The principal at `place`.
    pub(super) fn principal(&self, place: &str) -> Option<&'a Principal> {
        self.state.principals.get(place)
    }

    /// The environment of a principal, where the policy knows it.
    pub(super) fn environment(&self, place: &str) -> Option<&'a str> {
        if self.policy.environments.is_empty() {
            return None;
        }
        let about = &self.principal(place)?.about.1;
        self.policy.environment(Place {
            id: place,
            host: &about.host,
            namespace: &about.workload.namespace,
            labels: &about.workload.labels,
        })
    }

    /// A user of a credential as a participant.
    pub(super) fn participant(&self, one: &Use) -> Participant {
        self.named(&one.place, &one.sample, &one.evidence, &one.span)
    }

    /// A principal as a participant.
    pub(super) fn itself(&self, place: &str, principal: &Principal) -> Participant {
        self.named(place, &principal.sample, &principal.evidence, &principal.span)
    }

    /// Anybody as a participant.
    pub(super) fn named(
        &self,
        place: &str,
        sample: &Sample,
        evidence: &Evidence,
        span: &Span,
    ) -> Participant {
        let first = evidence.marks().first().copied().unwrap_or_default();
        let sensor = self.state.sensors.get(&first.sensor);
        let workload = self.principal(place).map(|known| {
            let mut workload = known.about.1.workload.clone();
            // Programs of one person are one principal; each is named by itself.
            if workload.kind == "user" {
                let (host, uid) = (&known.about.1.host, sample.uid.unwrap_or_default());
                workload.id = format!("user://{host}/{uid}/{}", sample.exe.trim_start_matches('/'));
                workload.name = base(&sample.exe).to_owned();
            }
            workload
        });
        Participant {
            process: Some(Process {
                pid: sample.generation.0,
                start_time: sample.generation.1,
                exe: sample.exe.to_string(),
                uid: sample.uid,
                cgroup: sample.cgroup.to_string(),
                ..Process::default()
            }),
            workload: workload.filter(|workload| *workload != Workload::default()),
            // Numbers of another sensor would name other records.
            evidence: evidence
                .marks()
                .iter()
                .filter(|mark| mark.sensor == first.sensor)
                .map(|mark| mark.seq)
                .collect(),
            first_seen: span.first,
            last_seen: span.last,
            count: span.count,
            host: sensor.map(|sensor| sensor.host.to_string()).unwrap_or_default(),
            boot_id: sensor.map(|sensor| sensor.boot_id.to_string()).unwrap_or_default(),
        }
    }

    /// A credential as findings show it.
    pub(super) fn credential(&self, fingerprint: &str, known: &Cred) -> Credential {
        Credential {
            fingerprint: fingerprint.to_owned(),
            provider: known.meta.provider.to_string(),
            kind: known.meta.kind.to_string(),
            lifetime: known.meta.lifetime.to_string(),
            hint: known.meta.hint.to_string(),
            ..Credential::default()
        }
    }

    /// A draft about a credential and some of its users.
    pub(super) fn about_key(
        &self,
        at: At<'_>,
        subject: String,
        (fingerprint, known): (&str, &Cred),
        users: &[&Use],
    ) -> Draft {
        let mut span = Span::default();
        users.iter().for_each(|one| span.merge(&one.span));
        Draft {
            subject,
            severity: at.rule.severity,
            title: String::new(),
            credential: Some(self.credential(fingerprint, known)),
            participants: users.iter().map(|one| self.participant(one)).collect(),
            span,
        }
    }

    /// What a credential is called in sentences: its label, else provider and hint.
    pub(super) fn key_name(&self, fingerprint: &str, known: &Cred) -> String {
        if let Some(entitlement) = self.policy.entitlement(fingerprint) {
            return format!("key `{}`", entitlement.label);
        }
        let shown = if known.meta.hint.is_empty() { fingerprint } else { &known.meta.hint };
        match &*known.meta.provider {
            "" => format!("key ({shown})"),
            provider => format!("{provider} key ({shown})"),
        }
    }
}

/// What somebody is called in sentences.
pub(super) fn who_name(place: &str, sample: &Sample) -> String {
    let program = base(&sample.exe);
    if let Some(path) =
        place.strip_prefix("cgroup://").and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)))
    {
        return format!("{program}[{}] in {path}", sample.generation.0);
    }
    match place.strip_prefix("user://").and_then(|rest| rest.split_once('/')) {
        Some((host, uid)) => format!("{program} of user {uid} on {host}"),
        None => place.to_owned(),
    }
}

/// `a`, `a and b`, `a, b and 3 more`.
pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}

/// The file name of a path.
pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Dollars, two decimals, more for small amounts.
pub(super) fn dollars(nanos: u64) -> String {
    let usd = nanos as f64 / 1e9;
    if usd < 0.1 { format!("${usd:.4}") } else { format!("${usd:.2}") }
}
