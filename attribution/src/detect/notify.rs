//! One incident, one notification: what goes to people, and how often.

use std::collections::{BTreeMap, VecDeque};

use proto::v1::Finding;

use super::Severity;

/// Findings that wait for their time, at most; of more, those that wait longest go out in the next summary.
const MAX_HELD: usize = 4096;
/// Findings whose last notification is remembered.
const MAX_KNOWN: usize = 65_536;

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
    /// One finding, in its latest form.
    One(Box<Finding>),
    /// Several at once, because there are too many: the worst first.
    Many(Vec<Finding>),
}

/// Groups findings into notifications. Time is what the caller says it is.
#[derive(Debug)]
pub struct Notifier {
    limits: Limits,
    /// When each incident was told last.
    known: BTreeMap<String, u64>,
    /// The latest form of those that wait, by id.
    held: BTreeMap<String, Finding>,
    /// Times of the latest notifications.
    sent: VecDeque<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { least: Severity::Low, between_ns: 300_000_000_000, most: 10, window_ns: 60_000_000_000 }
    }
}

impl Notifier {
    /// A notifier that has told nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, known: BTreeMap::new(), held: BTreeMap::new(), sent: VecDeque::new() }
    }

    /// Takes a finding; what is to be sent at once.
    pub fn finding(&mut self, finding: Finding, now: u64) -> Vec<Notification> {
        let severity = Severity::parse(&finding.severity).unwrap_or(Severity::Critical);
        if severity < self.limits.least {
            return Vec::new();
        }
        // An incident that ended before anybody was told of it is not worth a word.
        if finding.state == "resolved" && !self.known.contains_key(&finding.id) {
            self.held.remove(&finding.id);
            return Vec::new();
        }
        if self.held.len() < MAX_HELD || self.held.contains_key(&finding.id) {
            self.held.insert(finding.id.clone(), finding);
            return self.due(now);
        }
        let mut all: Vec<Finding> = std::mem::take(&mut self.held).into_values().collect();
        all.push(finding);
        vec![self.together(all, now)]
    }

    /// What is to be sent at `now`.
    pub fn due(&mut self, now: u64) -> Vec<Notification> {
        let open = |at: &u64| at.saturating_add(self.limits.window_ns) > now;
        self.sent.retain(open);
        let between = self.limits.between_ns;
        let known = &self.known;
        let is_due = |id: &String| known.get(id).is_none_or(|told| told.saturating_add(between) <= now);
        let ids: Vec<String> = self.held.keys().filter(|id| is_due(id)).cloned().collect();
        let room = self.limits.most.saturating_sub(self.sent.len());
        if ids.is_empty() || room == 0 {
            return Vec::new();
        }
        let mut due: Vec<Finding> = ids.iter().filter_map(|id| self.held.remove(id)).collect();
        worst_first(&mut due);
        // The last place is for all the rest.
        let rest = if due.len() > room { due.split_off(room - 1) } else { Vec::new() };
        let mut out: Vec<Notification> = Vec::new();
        for finding in due {
            self.told(&finding, now);
            self.sent.push_back(now);
            out.push(Notification::One(Box::new(finding)));
        }
        if !rest.is_empty() {
            out.push(self.together(rest, now));
        }
        out
    }

    fn together(&mut self, mut all: Vec<Finding>, now: u64) -> Notification {
        worst_first(&mut all);
        all.iter().for_each(|finding| self.told(finding, now));
        self.sent.push_back(now);
        Notification::Many(all)
    }

    fn told(&mut self, finding: &Finding, now: u64) {
        if finding.state == "resolved" {
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

fn worst_first(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| {
        (std::cmp::Reverse(Severity::parse(&finding.severity)), finding.first_seen, finding.id.clone())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn finding(id: &str, state: &str, severity: &str) -> Finding {
        Finding { id: id.into(), state: state.into(), severity: severity.into(), ..Finding::default() }
    }

    fn ids(told: &[Notification]) -> Vec<String> {
        let name = |one: &Notification| match one {
            Notification::One(finding) => format!("{} {}", finding.id, finding.state),
            Notification::Many(all) => format!("{} more", all.len()),
        };
        told.iter().map(name).collect()
    }

    #[test]
    fn one_incident_is_one_notification_and_its_updates_wait() {
        let mut notifier = Notifier::new(Limits::default());
        assert_eq!(ids(&notifier.finding(finding("a", "open", "high"), 0)), ["a open"]);
        for at in 1..100 {
            assert!(notifier.finding(finding("a", "updated", "high"), at * S).is_empty());
        }
        assert!(notifier.due(299 * S).is_empty());
        assert_eq!(ids(&notifier.due(300 * S)), ["a updated"]);
        assert!(notifier.due(900 * S).is_empty());
        assert_eq!(ids(&notifier.finding(finding("a", "resolved", "high"), 901 * S)), ["a resolved"]);
        assert_eq!(ids(&notifier.finding(finding("a", "open", "high"), 902 * S)), ["a open"]);
    }

    #[test]
    fn many_incidents_are_told_together_and_none_is_lost() {
        let mut notifier = Notifier::new(Limits { most: 3, ..Limits::default() });
        let mut told = Vec::new();
        for number in 0..50 {
            told.extend(notifier.finding(finding(&format!("{number:02}"), "open", "high"), S));
        }
        assert_eq!(ids(&told), ["00 open", "01 open", "02 open"]);
        assert!(notifier.due(60 * S).is_empty());
        notifier.finding(finding("99", "open", "critical"), 60 * S);
        assert_eq!(ids(&notifier.due(61 * S)), ["99 open", "03 open", "46 more"]);
        assert!(notifier.due(400 * S).is_empty());
    }

    #[test]
    fn what_is_not_severe_or_ended_untold_is_not_told() {
        let mut notifier = Notifier::new(Limits::default());
        assert!(notifier.finding(finding("a", "open", "info"), 0).is_empty());
        assert!(notifier.finding(finding("b", "resolved", "high"), 0).is_empty());
        assert!(notifier.held.is_empty() && notifier.known.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_overflow_goes_out_together() {
        let mut notifier = Notifier::new(Limits { most: 1, ..Limits::default() });
        let mut told = 0;
        for number in 0..3 * MAX_HELD {
            for one in notifier.finding(finding(&number.to_string(), "open", "high"), S) {
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
}
