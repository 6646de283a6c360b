//! Workloads: what the cgroup of a process stands for, with the answers of all sources merged.
//!
//! A principal (`id`) is what stays when it is started again; an instance is one run of it. Answers are kept
//! by what is never given out twice: the id of a container, the uid of a pod, the id of a cgroup, the
//! generation of a process. So what comes again under an old name starts with nothing known of it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use proto::v1;

use super::answer::{About, Answer, Facts, Source, SourceState};
use super::cgroup::{Rank, Scope};
use crate::event::{CgroupKey, ProcessKey};

mod name;

/// Cgroups remembered, live and ended; the oldest make room.
pub const MAX_CGROUPS: usize = 65_536;
/// Containers, pods, units and processes of which answers are kept; the oldest make room.
pub const MAX_SUBJECTS: usize = 32_768;
/// How long what is over keeps its last identity for late events, nanoseconds.
pub const LATE_NS: u64 = 600_000_000_000;

/// Why an instance is not known on a host with cgroup v1.
const UNREAD: &str = "its cgroup v1 membership could not be read: it ended too early";

/// A cgroup, one generation of it.
#[derive(Debug)]
struct Cgroup {
    path: String,
    scope: Scope,
    /// First seen, nanoseconds since the epoch.
    seen: u64,
    /// Seen to be gone: boot time and calendar time, nanoseconds.
    ended: Option<(u64, u64)>,
}

/// What the sources say of one subject.
#[derive(Debug, Default)]
struct Subject {
    /// By source, in order of trust.
    facts: [Option<Arc<Facts>>; Source::ALL.len()],
    /// Sources that do not know it.
    denied: [bool; Source::ALL.len()],
    /// Since when nothing live stands for it, boot time in nanoseconds.
    absent_ns: Option<u64>,
}

/// Whom to name.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Name of the host.
    pub host: &'a str,
    /// The process.
    pub process: ProcessKey,
    /// Its real user id.
    pub uid: Option<u32>,
    /// Its executable.
    pub exe: &'a str,
    /// Where it is.
    pub place: Place<'a>,
}

/// The cgroup that says most of a process.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The cgroup.
    pub cgroup: Option<CgroupKey>,
    /// Its path; empty when unknown.
    pub path: &'a str,
    /// Why the path may not be what matters.
    pub unknown_reason: &'static str,
}

/// Everything known of workloads.
#[derive(Debug)]
pub struct Workloads {
    cgroups: HashMap<CgroupKey, Cgroup>,
    cgroup_order: VecDeque<CgroupKey>,
    subjects: HashMap<About, Subject>,
    subject_order: VecDeque<About>,
    sources: [SourceState; Source::ALL.len()],
    /// Whether containers may stand in v1 hierarchies only.
    legacy: bool,
}

impl Default for Workloads {
    fn default() -> Self {
        Self {
            cgroups: HashMap::new(),
            cgroup_order: VecDeque::new(),
            subjects: HashMap::new(),
            subject_order: VecDeque::new(),
            sources: Source::ALL.map(|_| SourceState::Off("not asked".into())),
            legacy: false,
        }
    }
}

impl Workloads {
    /// The path of a cgroup, first seen at `now` (nanoseconds since the epoch).
    pub fn cgroup(&mut self, key: CgroupKey, path: String, now: u64) {
        self.legacy |= key.hierarchy != 0;
        let known = self.cgroups.get(&key);
        if known.is_some_and(|known| known.ended.is_none() && known.path == path) {
            return;
        }
        let again = known.is_some();
        let cgroup = Cgroup { scope: Scope::of(&path), path, seen: now, ended: None };
        self.cgroups.insert(key, cgroup);
        if again {
            // Another generation: what was said of the one before is not about this one.
            self.subjects.remove(&About::Cgroup(key));
        } else {
            self.cgroup_order.push_back(key);
        }
        while self.cgroup_order.len() > MAX_CGROUPS
            && let Some(oldest) = self.cgroup_order.pop_front()
        {
            self.cgroups.remove(&oldest);
        }
    }

    /// A cgroup is gone; what was in it stays known for late events.
    pub fn gone(&mut self, key: CgroupKey, now_ns: u64, now: u64) {
        if let Some(cgroup) = self.cgroups.get_mut(&key).filter(|cgroup| cgroup.ended.is_none()) {
            cgroup.ended = Some((now_ns, now));
        }
    }

    /// Takes an answer. A source that no longer knows something does not take back what it said.
    pub fn answer(&mut self, answer: Answer, now_ns: u64) {
        if !self.subjects.contains_key(&answer.about) {
            self.subject_order.push_back(answer.about.clone());
            while self.subject_order.len() > MAX_SUBJECTS
                && let Some(oldest) = self.subject_order.pop_front()
            {
                self.subjects.remove(&oldest);
            }
        }
        let at = answer.source as usize;
        let subject = self.subjects.entry(answer.about).or_default();
        if let Some(denied) = subject.denied.get_mut(at) {
            *denied = answer.facts.is_none();
        }
        match (answer.facts, subject.facts.get_mut(at)) {
            (Some(facts), Some(known)) => {
                *known = Some(Arc::new(facts));
                subject.absent_ns = None;
            }
            _ => subject.absent_ns = subject.absent_ns.or(Some(now_ns)),
        }
    }

    /// A source changed its state.
    pub fn source(&mut self, source: Source, state: SourceState) {
        if let Some(known) = self.sources.get_mut(source as usize) {
            *known = state;
        }
    }

    /// Forgets what was over long ago.
    pub fn expire(&mut self, now_ns: u64) {
        let late = |ended_ns: u64| ended_ns.saturating_add(LATE_NS) < now_ns;
        let (cgroups, subjects) = (self.cgroups.len(), self.subjects.len());
        self.cgroups.retain(|_, cgroup| !cgroup.ended.is_some_and(|(ended_ns, _)| late(ended_ns)));
        let live = |cgroup: &&Cgroup| cgroup.ended.is_none();
        let containers: HashSet<&str> =
            self.cgroups.values().filter(live).map(|cgroup| cgroup.scope.container.as_str()).collect();
        let keys = &self.cgroups;
        self.subjects.retain(|about, subject| {
            let present = match about {
                About::Container(id) => containers.contains(id.as_str()),
                About::Cgroup(key) => keys.contains_key(key),
                // Of these the end is told, or the order of the table ends them.
                About::Pod(_) | About::Process(_) => subject.absent_ns.is_none(),
            };
            subject.absent_ns = if present { None } else { subject.absent_ns.or(Some(now_ns)) };
            !subject.absent_ns.is_some_and(late)
        });
        if cgroups != self.cgroups.len() {
            self.cgroup_order.retain(|key| self.cgroups.contains_key(key));
        }
        if subjects != self.subjects.len() {
            self.subject_order.retain(|about| self.subjects.contains_key(about));
        }
    }

    /// Cgroups and subjects in the tables.
    pub fn len(&self) -> (usize, usize) {
        (self.cgroups.len(), self.subjects.len())
    }

    /// Whether a cgroup is known to be a container's.
    pub fn is_container(&self, key: CgroupKey) -> bool {
        self.cgroups.get(&key).is_some_and(|cgroup| cgroup.scope.rank() == Rank::Container)
    }

    /// Where a process is: in the v2 cgroup `unified` and, on a host with v1, in `legacy`. `told` is its path
    /// from /proc, for a process that was not seen to act.
    pub fn place<'a>(&'a self, unified: u64, legacy: Option<CgroupKey>, told: Option<&'a str>) -> Place<'a> {
        let unified_key = CgroupKey { hierarchy: 0, id: unified };
        let unified = self.cgroups.get(&unified_key);
        let legacy_cgroup = legacy.and_then(|key| self.cgroups.get(&key));
        let rank =
            |cgroup: Option<&Cgroup>| cgroup.map(|cgroup| (cgroup.scope.rank(), cgroup.path.len() > 1));
        let found = match rank(legacy_cgroup) > rank(unified) {
            true => legacy.zip(legacy_cgroup),
            false => unified.map(|cgroup| (unified_key, cgroup)),
        };
        let unread = self.legacy
            && legacy_cgroup.is_none()
            && unified.is_none_or(|cgroup| cgroup.path.len() <= 1 || cgroup.scope.is_runtime_unit());
        match found {
            Some((key, cgroup)) if cgroup.path.len() > 1 || told.is_none_or(|told| told.len() <= 1) => {
                Place {
                    cgroup: Some(key),
                    path: &cgroup.path,
                    unknown_reason: if unread { UNREAD } else { "" },
                }
            }
            _ => Place { cgroup: None, path: told.unwrap_or_default(), unknown_reason: "" },
        }
    }

    /// The workload of a process.
    pub fn workload(&self, asked: &Asked<'_>) -> v1::Workload {
        name::workload(self, asked)
    }

    fn facts(&self, about: &About, source: Source) -> Option<&Facts> {
        self.subjects.get(about)?.facts.get(source as usize)?.as_deref()
    }

    /// Why `source` has said nothing about a subject.
    fn silence(&self, about: &About, source: Source) -> String {
        let denied = self.subjects.get(about).and_then(|subject| subject.denied.get(source as usize));
        let why = match self.sources.get(source as usize) {
            Some(SourceState::Off(reason)) => format!("off, {reason}"),
            Some(SourceState::Waiting(reason)) => format!("not connected, {reason}"),
            _ if denied.is_some_and(|denied| *denied) => "it does not know it".into(),
            _ => "no answer yet".into(),
        };
        format!("{}: {why}", source.name())
    }
}

#[cfg(test)]
mod tests;
