//! What was told already, so that one incident is told once, then only what changes.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use proto::v1::Finding;

use super::state::names::key;
use super::{Subject, principal_of};

/// States of a finding.
pub(super) const OPEN: &str = "open";
pub(super) const UPDATED: &str = "updated";
pub(super) const RESOLVED: &str = "resolved";
/// Findings in force that are followed; more are counted and not told.
const MAX_TOLD: usize = 65_536;
/// How long a finding that only goes on is not told again: six hours.
const REMIND_NS: u64 = 6 * 3_600_000_000_000;

/// The findings that were told and are in force.
#[derive(Debug, Default)]
pub(super) struct Told {
    by_id: HashMap<String, Report, RandomState>,
    by_subject: HashMap<Subject, Vec<String>, RandomState>,
    /// Whether some of them were restored and not found again yet.
    restored: bool,
    /// Findings that were not told because there are too many.
    pub(super) refused: u64,
}

#[derive(Debug)]
struct Report {
    finding: Finding,
    shape: u64,
    /// When it was told last.
    time: u64,
    /// Nothing for one that was restored and not found again yet.
    subject: Option<Subject>,
}

impl Told {
    /// Compares what is `found` about `subject` now with what was told; the differences go to `out`.
    pub(super) fn tell(&mut self, subject: &Subject, found: Vec<Finding>, now: u64, out: &mut Vec<Finding>) {
        if found.is_empty() && !self.by_subject.contains_key(subject) {
            return;
        }
        let before = self.by_subject.remove(subject).unwrap_or_default();
        for id in before.iter().filter(|id| !found.iter().any(|finding| finding.id == **id)) {
            if let Some(report) = self.by_id.remove(id) {
                out.push(Finding { state: RESOLVED.to_owned(), ..report.finding });
            }
        }
        let mut ids = Vec::with_capacity(found.len());
        for finding in found {
            let shape = shape(&finding);
            let id = finding.id.clone();
            let full = self.by_id.len() >= MAX_TOLD;
            match self.by_id.get_mut(&id) {
                Some(report) => {
                    report.subject = Some(subject.clone());
                    let goes_on = finding.last_seen > report.finding.last_seen;
                    let due = goes_on && now >= report.time.saturating_add(REMIND_NS);
                    if shape != report.shape || due {
                        out.push(Finding { state: UPDATED.to_owned(), ..finding.clone() });
                        (report.shape, report.time) = (shape, now);
                    }
                    report.finding = finding;
                }
                None if full => {
                    self.refused += 1;
                    continue;
                }
                None => {
                    out.push(finding.clone());
                    let report = Report { finding, shape, time: now, subject: Some(subject.clone()) };
                    self.by_id.insert(id.clone(), report);
                }
            }
            ids.push(id);
        }
        if !ids.is_empty() {
            self.by_subject.insert(subject.clone(), ids);
        }
    }

    /// Takes a finding that was told at `time`, before a restart.
    pub(super) fn restore(&mut self, finding: Finding, time: u64) {
        if finding.state == RESOLVED {
            self.by_id.remove(&finding.id);
        } else if self.by_id.len() < MAX_TOLD || self.by_id.contains_key(&finding.id) {
            self.restored = true;
            let report = Report { shape: shape(&finding), finding, time, subject: None };
            self.by_id.insert(report.finding.id.clone(), report);
        }
    }

    /// Ends what was restored and is not in force any more. Call it when everything was looked at.
    pub(super) fn end_restored(&mut self, out: &mut Vec<Finding>) {
        if !std::mem::take(&mut self.restored) {
            return;
        }
        let gone = self.by_id.extract_if(|_, report| report.subject.is_none());
        let mut gone: Vec<Finding> = gone.map(|(_, report)| report.finding).collect();
        gone.sort_by(|one, other| one.id.cmp(&other.id));
        let end = |finding| Finding { state: RESOLVED.to_owned(), ..finding };
        out.extend(gone.into_iter().map(end));
    }

    /// Subjects with findings in force.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.by_subject.keys().cloned().collect()
    }

    /// Takes over what another detector told.
    pub(super) fn merge(&mut self, other: Self) {
        for (id, report) in other.by_id {
            self.by_id.entry(id).or_insert(report);
        }
        for (subject, mut ids) in other.by_subject {
            let known = self.by_subject.entry(subject).or_default();
            ids.retain(|id| !known.contains(id));
            known.append(&mut ids);
        }
        self.restored |= other.restored;
        self.refused += other.refused;
    }
}

/// What makes an update worth telling: severity and participants.
fn shape(finding: &Finding) -> u64 {
    let mut who: Vec<(&str, &str)> = finding
        .participants
        .iter()
        .map(|one| (principal_of(one), one.process.as_ref().map(|one| one.exe.as_str()).unwrap_or_default()))
        .collect();
    who.sort_unstable();
    key((&finding.severity, who))
}
