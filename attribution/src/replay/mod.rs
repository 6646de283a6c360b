//! The past through the rules of today: recorded records in, the difference of their findings out.
//!
//! Rules see records only, and time only as records tell it, so that the same records always give the same answer.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use proto::v1::{Finding, Participant, Record};

use crate::detect::Detector;

/// Findings that are compared; more are counted.
const MAX_FINDINGS: usize = 100_000;

/// A run over recorded records.
#[derive(Debug)]
pub struct Replay {
    detector: Detector,
    then: BTreeMap<String, Finding>,
    now: BTreeMap<String, Finding>,
    /// Records that the rules have seen.
    pub records: u64,
    /// Findings that did not fit.
    pub left_out: u64,
}

/// How a finding differs.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// Not found then.
    New(Box<Finding>),
    /// Not found now.
    Gone(Box<Finding>),
    /// Found both times, differently.
    Changed {
        /// As it is now.
        finding: Box<Finding>,
        /// What is different, in words.
        changes: Vec<String>,
    },
}

impl Replay {
    /// With nothing seen.
    pub fn new(detector: Detector) -> Self {
        Self { detector, then: BTreeMap::new(), now: BTreeMap::new(), records: 0, left_out: 0 }
    }

    /// Takes a recorded record. Recorded findings are what is compared with, never what is looked at.
    pub fn record(&mut self, record: &Record) {
        if let Some(finding) = record.finding() {
            self.left_out += keep(&mut self.then, finding.clone());
            return;
        }
        self.records += 1;
        for finding in self.detector.record(record) {
            self.left_out += keep(&mut self.now, finding);
        }
    }

    /// After the last record: what only time or the end of a run decides.
    pub fn end(&mut self) {
        for finding in self.detector.settle() {
            self.left_out += keep(&mut self.now, finding);
        }
    }

    /// Findings now.
    pub fn findings(&self) -> usize {
        self.now.len()
    }

    /// What differs, by id.
    pub fn differences(&self) -> Vec<Difference> {
        let ids: BTreeSet<&String> = self.then.keys().chain(self.now.keys()).collect();
        let one = |id: &String| match (self.then.get(id), self.now.get(id)) {
            (None, Some(now)) => Some(Difference::New(Box::new(now.clone()))),
            (Some(then), None) => Some(Difference::Gone(Box::new(then.clone()))),
            (Some(then), Some(now)) => {
                let changes = changes(then, now);
                let finding = Box::new(now.clone());
                (!changes.is_empty()).then_some(Difference::Changed { finding, changes })
            }
            (None, None) => None,
        };
        ids.into_iter().filter_map(one).collect()
    }
}

/// Keeps the last word on each finding; 1 when there is no room.
fn keep(findings: &mut BTreeMap<String, Finding>, finding: Finding) -> u64 {
    if findings.len() >= MAX_FINDINGS && !findings.contains_key(&finding.id) {
        return 1;
    }
    findings.insert(finding.id.clone(), finding);
    0
}

fn changes(then: &Finding, now: &Finding) -> Vec<String> {
    let mut changes = Vec::new();
    for (what, then, now) in [
        ("rule", &then.rule, &now.rule),
        ("severity", &then.severity, &now.severity),
        ("state", &then.state, &now.state),
    ] {
        if then != now {
            changes.push(format!("{what} {then} -> {now}"));
        }
    }
    let (before, after): (BTreeSet<_>, BTreeSet<_>) =
        (then.participants.iter().map(name).collect(), now.participants.iter().map(name).collect());
    changes.extend(after.difference(&before).map(|name| format!("also {name}")));
    changes.extend(before.difference(&after).map(|name| format!("without {name}")));
    changes
}

/// Who a participant is, by facts that stay from run to run.
fn name(participant: &Participant) -> String {
    let workload = participant.workload.as_ref().map(|workload| workload.id.as_str()).unwrap_or_default();
    match &participant.process {
        Some(process) => format!("{}[{}] in {workload}", process.exe, process.pid),
        None => workload.to_owned(),
    }
}
