//! One incident, one notification: what goes to people, and how often.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
};

use proto::v1::{Finding, Record, record::Body};

use super::emit::{OPEN, RESOLVED, UPDATED};
use super::{Severity, id};

/// Rule of a finding that stands for several.
pub const SEVERAL: &str = "several-findings";

/// Findings that wait for their time, at most; of more, those that wait longest go out in the next summary.
const MAX_HELD: usize = 4096;
/// Findings whose last notification is remembered.
const MAX_KNOWN: usize = 65_536;
/// Titles in a summary; the rest is a number.
const MAX_TITLES: usize = 5;

/// How often people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Least severity that is told.
    pub least: Severity,
    /// Time between two notifications of one incident, nanoseconds.
    pub between_ns: u64,
    /// Notifications in `window_ns`; what is more is told together.
    pub most: usize,
    /// Nanoseconds.
    pub window_ns: u64,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    /// One finding in its latest form, or a record of another kind.
    One(Box<Record>),
    /// Several findings at once, because there are too many: the worst first.
    Many(Vec<Record>),
}

/// Groups findings into notifications. Time is what the caller says it is.
#[derive(Debug)]
pub struct Notifier {
    limits: Limits,
    /// Calendar time from which on it is told everything.
    since: u64,
    /// When each incident was told last.
    known: BTreeMap<String, u64>,
    /// The latest form of those that wait, by id.
    held: BTreeMap<String, Record>,
    /// Times of the latest notifications.
    sent: VecDeque<u64>,
}

impl Notification {
    /// The record to send: several findings become one that sums them up.
    pub fn into_record(self) -> Option<Record> {
        match self {
            Self::One(record) => Some(*record),
            Self::Many(all) => summary(&all),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { least: Severity::Low, between_ns: 300_000_000_000, most: 10, window_ns: 60_000_000_000 }
    }
}

impl Notifier {
    /// A notifier that has told nothing. What was first seen before `since` (nanoseconds since the epoch) may have
    /// been told by an earlier one, so that its end is told in any case.
    pub fn new(limits: Limits, since: u64) -> Self {
        Self { limits, since, known: BTreeMap::new(), held: BTreeMap::new(), sent: VecDeque::new() }
    }

    /// Takes a record; what is to be sent at once. Records other than findings always are.
    pub fn record(&mut self, mut record: Record, now: u64) -> Vec<Notification> {
        let Some(Body::Finding(finding)) = &mut record.body else {
            return vec![Notification::One(Box::new(record))];
        };
        if severity(finding) < self.limits.least {
            return Vec::new();
        }
        let id = finding.id.clone();
        let known = self.known.contains_key(&id);
        if finding.state == RESOLVED {
            // An incident that ended before anybody was told of it is not worth a word.
            if !known && finding.first_seen >= self.since {
                self.held.remove(&id);
                return Vec::new();
            }
        } else if known {
            UPDATED.clone_into(&mut finding.state);
        } else if self.held.get(&id).and_then(Record::finding).is_some_and(|held| held.state == OPEN) {
            OPEN.clone_into(&mut finding.state);
        }
        if self.held.len() < MAX_HELD || self.held.contains_key(&id) {
            self.held.insert(id, record);
            return self.due(now);
        }
        let mut all: Vec<Record> = std::mem::take(&mut self.held).into_values().collect();
        all.push(record);
        vec![self.together(all, now)]
    }

    /// What is to be sent at `now`.
    pub fn due(&mut self, now: u64) -> Vec<Notification> {
        while self.sent.front().is_some_and(|at| at.saturating_add(self.limits.window_ns) <= now) {
            self.sent.pop_front();
        }
        let room = self.limits.most.saturating_sub(self.sent.len());
        if room == 0 {
            return Vec::new();
        }
        let ids: Vec<String> = self.held.keys().filter(|id| self.due_at(id) <= now).cloned().collect();
        let mut due: Vec<Record> = ids.iter().filter_map(|id| self.held.remove(id)).collect();
        worst_first(&mut due);
        // The last place is for all the rest.
        let rest = if due.len() > room { due.split_off(room - 1) } else { Vec::new() };
        let mut out: Vec<Notification> = Vec::new();
        for record in due {
            self.told(&record, now);
            self.sent.push_back(now);
            out.push(Notification::One(Box::new(record)));
        }
        if !rest.is_empty() {
            out.push(self.together(rest, now));
        }
        out
    }

    /// When [`Notifier::due`] has something next; nothing while nothing waits.
    pub fn next(&self) -> Option<u64> {
        let first = self.held.keys().map(|id| self.due_at(id)).min()?;
        let full = self.sent.len() >= self.limits.most;
        let free =
            self.sent.front().filter(|_| full).map_or(0, |at| at.saturating_add(self.limits.window_ns));
        Some(first.max(free))
    }

    /// What still waits, whether its time has come or not: for the end.
    pub fn rest(&mut self, now: u64) -> Option<Notification> {
        let mut all: Vec<Record> = std::mem::take(&mut self.held).into_values().collect();
        match all.len() {
            0 => None,
            1 => all.pop().map(|one| Notification::One(Box::new(one))),
            _ => Some(self.together(all, now)),
        }
    }

    /// When an incident may be told again.
    fn due_at(&self, id: &str) -> u64 {
        self.known.get(id).map_or(0, |told| told.saturating_add(self.limits.between_ns))
    }

    fn together(&mut self, mut all: Vec<Record>, now: u64) -> Notification {
        worst_first(&mut all);
        all.iter().for_each(|record| self.told(record, now));
        self.sent.push_back(now);
        Notification::Many(all)
    }

    fn told(&mut self, record: &Record, now: u64) {
        let Some(finding) = record.finding() else { return };
        if finding.state == RESOLVED {
            self.known.remove(&finding.id);
            return;
        }
        if self.known.len() >= MAX_KNOWN
            && let Some(oldest) = self.known.iter().min_by_key(|(_, told)| **told).map(|(id, _)| id.clone())
        {
            self.known.remove(&oldest);
        }
        self.known.insert(finding.id.clone(), now);
    }
}

fn severity(finding: &Finding) -> Severity {
    Severity::parse(&finding.severity).unwrap_or(Severity::Critical)
}

fn worst_first(records: &mut [Record]) {
    records.sort_by_cached_key(|record| {
        record.finding().map(|finding| (Reverse(severity(finding)), finding.first_seen, finding.id.clone()))
    });
}

/// One finding for `all`, which are sorted; as severe as the worst.
fn summary(all: &[Record]) -> Option<Record> {
    let findings: Vec<&Finding> = all.iter().filter_map(Record::finding).collect();
    let worst = findings.first()?;
    let titles: Vec<&str> = findings.iter().take(MAX_TITLES).map(|one| one.title.as_str()).collect();
    let more = findings.len() - titles.len();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let ids: Vec<&str> = findings.iter().map(|one| one.id.as_str()).collect();
    let finding = Finding {
        id: id(SEVERAL, &ids.join(" ")),
        rule: SEVERAL.to_owned(),
        severity: worst.severity.clone(),
        title: format!("{} findings at once: {}{more}", findings.len(), titles.join("; ")),
        first_seen: findings.iter().map(|one| one.first_seen).min().unwrap_or_default(),
        last_seen: findings.iter().map(|one| one.last_seen).max().unwrap_or_default(),
        state: OPEN.to_owned(),
        next_step: "look at each with `keywitness findings`".to_owned(),
        count: findings.len() as u64,
        ..Finding::default()
    };
    let last = all.iter().max_by_key(|record| record.time)?;
    Some(Record { sensor: last.sensor.clone(), ..Record::new(last.time, Body::Finding(finding)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn finding(id: &str, state: &str, severity: &str) -> Record {
        let finding = Finding {
            id: id.into(),
            title: id.into(),
            state: state.into(),
            severity: severity.into(),
            first_seen: S,
            ..Finding::default()
        };
        Record::new(S, Body::Finding(finding))
    }

    fn notifier(limits: Limits) -> Notifier {
        Notifier::new(limits, S)
    }

    fn ids(told: &[Notification]) -> Vec<String> {
        let name = |one: &Notification| match one {
            Notification::One(record) => {
                let finding = record.finding().unwrap();
                format!("{} {}", finding.id, finding.state)
            }
            Notification::Many(all) => format!("{} more", all.len()),
        };
        told.iter().map(name).collect()
    }

    #[test]
    fn one_incident_is_one_notification_and_its_updates_wait() {
        let mut notifier = notifier(Limits::default());
        assert_eq!(ids(&notifier.record(finding("a", "open", "high"), 0)), ["a open"]);
        for at in 1..100 {
            assert!(notifier.record(finding("a", "updated", "high"), at * S).is_empty());
        }
        assert!(notifier.due(299 * S).is_empty());
        assert_eq!(notifier.next(), Some(300 * S));
        assert_eq!(ids(&notifier.due(300 * S)), ["a updated"]);
        assert!(notifier.due(900 * S).is_empty());
        assert_eq!(ids(&notifier.record(finding("a", "resolved", "high"), 901 * S)), ["a resolved"]);
        assert_eq!(ids(&notifier.record(finding("a", "open", "high"), 902 * S)), ["a open"]);
    }

    #[test]
    fn many_incidents_are_told_together_and_none_is_lost() {
        let mut notifier = notifier(Limits { most: 3, ..Limits::default() });
        let mut told = Vec::new();
        for number in 0..50 {
            told.extend(notifier.record(finding(&format!("{number:02}"), "open", "high"), S));
        }
        assert_eq!(ids(&told), ["00 open", "01 open", "02 open"]);
        assert!(notifier.due(60 * S).is_empty());
        notifier.record(finding("99", "open", "critical"), 60 * S);
        assert_eq!(ids(&notifier.due(61 * S)), ["99 open", "03 open", "46 more"]);
        assert!(notifier.due(400 * S).is_empty());
        assert_eq!(notifier.next(), None);
    }

    #[test]
    fn what_is_not_severe_or_ended_untold_is_not_told() {
        let mut notifier = notifier(Limits::default());
        assert!(notifier.record(finding("a", "open", "info"), 0).is_empty());
        assert!(notifier.record(finding("b", "resolved", "high"), 0).is_empty());
        assert!(notifier.held.is_empty() && notifier.known.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_overflow_goes_out_together() {
        let mut notifier = notifier(Limits { most: 1, ..Limits::default() });
        let mut told = 0;
        for number in 0..3 * MAX_HELD {
            for one in notifier.record(finding(&number.to_string(), "open", "high"), S) {
                told += match one {
                    Notification::One(_) => 1,
                    Notification::Many(all) => all.len(),
                };
            }
            assert!(notifier.held.len() <= MAX_HELD);
        }
        told += notifier.held.len();
        assert_eq!(told, 3 * MAX_HELD);
    }

    #[test]
    fn the_state_fits_what_was_told_before() {
        let mut notifier = notifier(Limits { most: 1, ..Limits::default() });
        assert_eq!(ids(&notifier.record(finding("a", "open", "high"), 0)), ["a open"]);
        // There is no room for it: its first word is said later, with what it has become.
        assert!(notifier.record(finding("b", "open", "high"), S).is_empty());
        assert!(notifier.record(finding("b", "updated", "high"), 2 * S).is_empty());
        assert_eq!(notifier.next(), Some(60 * S));
        assert_eq!(ids(&notifier.due(60 * S)), ["b open"]);
        // An end that was not told, and a new begin.
        assert!(notifier.record(finding("a", "resolved", "high"), 61 * S).is_empty());
        assert!(notifier.record(finding("a", "open", "high"), 62 * S).is_empty());
        assert_eq!(ids(&notifier.due(300 * S)), ["a updated"]);
    }

    #[test]
    fn the_end_of_what_an_earlier_run_told_is_told() {
        let mut notifier = Notifier::new(Limits::default(), 2 * S);
        assert_eq!(ids(&notifier.record(finding("a", "resolved", "high"), 0)), ["a resolved"]);
    }

    #[test]
    fn several_become_one_finding_as_severe_as_the_worst() {
        let mut notifier = notifier(Limits { most: 0, ..Limits::default() });
        for number in 0..7 {
            let severity = if number == 6 { "critical" } else { "low" };
            notifier.record(finding(&number.to_string(), "open", severity), 0);
        }
        let record = notifier.rest(S).and_then(Notification::into_record).unwrap();
        let told = record.finding().unwrap();
        assert_eq!(told.title, "7 findings at once: 6; 0; 1; 2; 3; and 2 more");
        assert_eq!((told.severity.as_str(), told.count, record.kind.as_str()), ("critical", 7, "finding"));
        assert!(notifier.rest(S).is_none());
    }
}
