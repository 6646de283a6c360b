//! Records in, findings out: one detector for a host, a fleet and a replay.
//!
//! What is known is a set of summaries that do not depend on the order of records (module `state`); findings are a
//! function of these, the policy and the time of the records ([`Detector::findings`]). So the same records give the
//! same findings in any order that stays within [`LATENESS_NS`], repeated or not, and in parts that are merged. What
//! [`Detector::record`] tells on the way (open, updated, resolved) may be more or less with another order; it leads
//! to the same end. One rule a file.

mod asks;
mod check;
mod emit;
mod facts;
mod notify;
mod report;
mod rules;
mod state;

mod budget;
mod credential_read;
mod dormant_entitlement;
mod environment_crossing;
mod expired_entitlement;
mod expired_exception;
mod key_exposed;
mod key_misdirected;
mod name_conflict;
mod new_endpoint;
mod orphaned_session;
mod out_of_scope_use;
mod personal_credential;
mod runaway_loop;
mod sensor_degraded;
mod shared_credential;
mod static_key;
mod suspect_sensor;
mod token_burn;
mod unregistered_credential;
mod unseen_call;

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use proto::v1::{Finding, Record};
use sha2::{Digest, Sha256};

use crate::policy::Policy;
use asks::Asks;
use check::{At, Checks, Cx, Draft, Of};
use emit::Told;
use state::{Look, State, Subject, Waits};

pub use notify::{Limits as NotifyLimits, Notification, Notifier, SEVERAL};
pub(crate) use shared_credential::NAME as SHARED_CREDENTIAL;

pub use report::{Consumption, CredentialReport, Usage, UserReport};
pub use rules::{Param, RULES, Rule, Severity};
pub use state::{
    Dropped, MAX_ACCESSES, MAX_CONNECTIONS, MAX_CREDENTIALS, MAX_PRINCIPALS, MAX_SENSORS, MAX_SESSIONS,
};

/// How late a record may come, behind the latest of all, with the promise that the order does not matter: one hour.
pub const LATENESS_NS: u64 = 3_600_000_000_000;
/// How often what has changed a little is looked at again, in time of the records.
const LOOK_NS: u64 = 1_000_000_000;
/// How long counts may be added up before rules see them, when no budget waits for them.
const COUNT_NS: u64 = 10_000_000_000;
/// How often what only time changes is looked at again.
const SWEEP_NS: u64 = 60_000_000_000;
/// Subjects that wait and are looked at with one record: no record has to wait for all of them.
const WITH_RECORD: usize = 4;
/// Subjects that wait and are looked at with one tick.
const WITH_TICK: usize = 4096;

/// The detector.
#[derive(Debug)]
pub struct Detector {
    policy: Arc<Policy>,
    checks: Checks,
    state: State,
    /// Subjects to look at, each once.
    waiting: Vec<Subject>,
    /// Subjects to look at with the next sweep, each once.
    later: Vec<Subject>,
    told: Told,
    counted: u64,
    looked: u64,
    swept: u64,
}

impl Detector {
    /// A detector that knows nothing yet.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            checks: Checks::new(&policy),
            state: State::new(Asks::new(&policy)),
            policy,
            waiting: Vec::new(),
            later: Vec::new(),
            told: Told::default(),
            counted: 0,
            looked: 0,
            swept: 0,
        }
    }

    /// Takes a record; the findings that it opens, changes or ends. Findings among the records are passed over.
    pub fn record(&mut self, record: &Record) -> Vec<Finding> {
        let mut urgent = Vec::new();
        if !self.apply(record, &mut |subject| urgent.push(subject)) {
            return Vec::new();
        }
        let mut out = Vec::new();
        for subject in urgent {
            self.look(&subject, &mut out);
        }
        self.look_around(WITH_RECORD, &mut out);
        out
    }

    /// The time is at least `time` (nanoseconds since the epoch); the findings that this opens, changes or ends.
    pub fn tick(&mut self, time: u64) -> Vec<Finding> {
        self.state.now = self.state.now.max(time);
        let mut out = Vec::new();
        self.look_around(WITH_TICK, &mut out);
        if self.waiting.is_empty() {
            self.told.end_restored(&mut out);
        }
        out
    }

    /// Looks at everything that waits; what that opens, changes or ends. Afterwards what was told and
    /// [`Detector::findings`] agree.
    pub fn settle(&mut self) -> Vec<Finding> {
        let mut out = Vec::new();
        self.swept = 0;
        self.wait(Vec::new());
        self.look_around(usize::MAX, &mut out);
        self.told.end_restored(&mut out);
        out
    }

    /// Another policy holds from now on. What it changes is told with the following ticks.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.checks = Checks::new(&policy);
        self.state.asks = Asks::new(&policy);
        self.policy = policy;
        self.swept = 0;
        let all = self.state.subjects().collect();
        self.wait(all);
    }

    /// Takes a record of the past again, after a restart: nothing is told a second time.
    pub fn restore(&mut self, record: &Record) {
        if let Some(finding) = record.finding() {
            self.told.restore(finding.clone(), record.time);
            return;
        }
        let mut news = Vec::new();
        self.apply(record, &mut |subject| news.push(subject));
        self.swept = 0;
        self.wait(news);
    }

    /// Adds what a detector of other records knows; the number of records that both had seen and that count twice
    /// now, 0 for disjoint parts.
    pub fn merge(&mut self, mut other: Self) -> u64 {
        self.count(&Subject::All);
        other.count(&Subject::All);
        self.told.merge(other.told);
        let both = self.state.merge(other.state);
        let all = self.state.subjects().collect();
        self.wait(all);
        both
    }

    /// All findings in force, by id: the same for the same records, policy and time.
    pub fn findings(&mut self) -> Vec<Finding> {
        self.count(&Subject::All);
        let mut all: Vec<Finding> =
            self.state.subjects().flat_map(|subject| self.evaluate(&subject)).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all
    }

    /// The latest time of any record or tick, nanoseconds since the epoch.
    pub fn now(&self) -> u64 {
        self.state.now
    }

    /// Records that were not used, and what was forgotten.
    pub fn dropped(&self) -> Dropped {
        Dropped { findings: self.told.refused, ..self.state.dropped() }
    }

    /// Credentials, principals and sessions known now.
    pub fn known(&self) -> [usize; 3] {
        [self.state.credentials.len(), self.state.principals.len(), self.state.sessions.len()]
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Takes a record into the state. What has to be looked at now goes to `urgent`, the rest waits.
    fn apply(&mut self, record: &Record, urgent: &mut dyn FnMut(Subject)) -> bool {
        let mut queues = Queues { waiting: &mut self.waiting, later: &mut self.later };
        self.state.apply(record, &mut |subject, waits, look| match look {
            Look::Now => urgent(subject()),
            _ => queues.put(subject, waits, look),
        })
    }

    /// Makes what was added up about a subject part of what rules see.
    fn count(&mut self, subject: &Subject) {
        let mut queues = Queues { waiting: &mut self.waiting, later: &mut self.later };
        self.state.tell_of(subject, &mut |subject, waits, look| queues.put(subject, waits, look));
    }

    /// Looks at some of what waits, and once a minute at everything that time alone may change.
    fn look_around(&mut self, most: usize, out: &mut Vec<Finding>) {
        let now = self.state.now;
        if now < self.looked.saturating_add(LOOK_NS) {
            return;
        }
        let budgets = self.state.asks.principals || self.state.asks.sessions;
        if now >= self.counted.saturating_add(if budgets { LOOK_NS } else { COUNT_NS }) {
            self.counted = now;
            self.count(&Subject::All);
        }
        if now >= self.swept.saturating_add(SWEEP_NS) {
            let ended = |until: u64| self.swept <= until && until <= now;
            let all = self.policy.exceptions.iter().any(|one| ended(one.until));
            self.swept = now;
            self.count(&Subject::All);
            self.look(&Subject::All, out);
            let later = std::mem::take(&mut self.later);
            for subject in &later {
                if let Some(waits) = self.state.waits(subject) {
                    waits.later = false;
                }
            }
            // What an exception hid may be about anything.
            let subjects = if all { self.state.subjects().collect() } else { self.told.subjects() };
            self.wait(subjects);
            self.wait(later);
        }
        for _ in 0..most {
            let Some(subject) = self.waiting.pop() else {
                self.looked = now;
                return;
            };
            if let Some(waits) = self.state.waits(&subject) {
                waits.soon = false;
            }
            self.look(&subject, out);
        }
    }

    /// Puts subjects among those to look at.
    fn wait(&mut self, subjects: Vec<Subject>) {
        for subject in subjects {
            let waits = self.state.waits(&subject);
            if waits.is_some_and(|waits| !std::mem::replace(&mut waits.soon, true)) {
                self.waiting.push(subject);
            }
        }
        // What was checked lately is checked again.
        self.looked = 0;
    }

    fn look(&mut self, subject: &Subject, out: &mut Vec<Finding>) {
        self.count(subject);
        let found = self.evaluate(subject);
        self.told.tell(subject, found, self.state.now, out);
    }

    /// The findings about one subject, by the state, the policy and the time alone.
    fn evaluate(&self, subject: &Subject) -> Vec<Finding> {
        let (checks, state) = (&self.checks, &self.state);
        match subject {
            Subject::Credential(name) => self.each(&checks.credential, name, state.credentials.get(name)),
            Subject::Principal(name) => self.each(&checks.principal, name, state.principals.get(name)),
            Subject::Session(name) => self.each(&checks.session, name, state.sessions.get(name)),
            Subject::Access(name) => self.each(&checks.access, name, state.accesses.get(name)),
            Subject::Sensor(key) => self.each(&checks.sensor, "", state.sensors.get(key)),
            Subject::All => self.run(&checks.all, |check, cx, at, drafts| check(cx, at, drafts)),
        }
    }

    fn each<T>(&self, checks: &[(usize, Of<T>)], name: &str, known: Option<&T>) -> Vec<Finding> {
        let Some(known) = known else { return Vec::new() };
        self.run(checks, |check, cx, at, drafts| check(cx, at, name, known, drafts))
    }

    fn run<C>(
        &self,
        checks: &[(usize, C)],
        call: impl Fn(&C, &Cx<'_>, At<'_>, &mut Vec<Draft>),
    ) -> Vec<Finding> {
        let cx = Cx { policy: &self.policy, state: &self.state, now: self.state.now };
        let (mut drafts, mut out) = (Vec::new(), Vec::new());
        for (index, check) in checks {
            if let (Some(rule), Some(settings)) = (RULES.get(*index), self.policy.settings.of(*index)) {
                let at = At { rule, settings };
                call(check, &cx, at, &mut drafts);
                out.extend(drafts.drain(..).filter_map(|draft| finding(&cx, at, draft)));
            }
        }
        out
    }
}

/// Where subjects wait to be looked at.
struct Queues<'a> {
    waiting: &'a mut Vec<Subject>,
    later: &'a mut Vec<Subject>,
}

impl Queues<'_> {
    /// Puts a subject where it is not yet.
    fn put(&mut self, subject: &dyn Fn() -> Subject, waits: &mut Waits, look: Look) {
        let (waits, queue) = match look {
            Look::Later => (&mut waits.later, &mut *self.later),
            Look::Now | Look::Soon => (&mut waits.soon, &mut *self.waiting),
        };
        if !std::mem::replace(waits, true) {
            queue.push(subject());
        }
    }
}

/// A draft as a finding, unless the policy silences it.
fn finding(cx: &Cx<'_>, at: At<'_>, mut draft: Draft) -> Option<Finding> {
    draft.participants.sort_by(|one, other| {
        (one.first_seen, &one.host, &one.evidence).cmp(&(other.first_seen, &other.host, &other.evidence))
    });
    let principals: Vec<&str> = draft.participants.iter().map(principal_of).collect();
    let about = draft.credential.as_ref().map_or(draft.subject.as_str(), |one| one.fingerprint.as_str());
    if cx.policy.is_silenced(at.rule.name, about, &principals, cx.now) {
        return None;
    }
    Some(Finding {
        id: id(at.rule.name, &draft.subject),
        rule: at.rule.name.to_owned(),
        severity: at.settings.severity.unwrap_or(draft.severity).name().to_owned(),
        title: draft.title,
        first_seen: draft.span.first,
        last_seen: draft.span.last,
        credential: draft.credential,
        participants: draft.participants,
        state: emit::OPEN.to_owned(),
        next_step: at.rule.next_step.to_owned(),
        count: draft.span.count,
        subject: draft.subject,
    })
}

/// The id of a finding: the same for the same rule and subject on every host.
fn id(rule: &str, subject: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(rule.as_bytes());
    hash.update([0]);
    hash.update(subject.as_bytes());
    let hash = hash.finalize();
    let start = hash.get(..10).unwrap_or_default();
    format!("kwf-{}", BASE32_NOPAD.encode(start).to_ascii_lowercase())
}

/// The workload id of a participant; its control group where it has none.
fn principal_of(participant: &proto::v1::Participant) -> &str {
    let workload = participant.workload.as_ref().map(|workload| workload.id.as_str());
    let cgroup = || participant.process.as_ref().map(|process| process.cgroup.as_str());
    workload.filter(|id| !id.is_empty()).or_else(cgroup).unwrap_or_default()
}
