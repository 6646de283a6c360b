//! The cgroups that were seen, in all hierarchies: their paths, who asks about them, and their end.

use std::{
    collections::{HashSet, VecDeque},
    path::{Path, PathBuf},
};

use attribution::{
    event::{CgroupKey, Event, ProcessKey},
    identity::cgroup::{Rank, Scope},
};

use super::{
    cgroup::Cgroups,
    member::{Members, is_gone},
    sources::Sources,
};

/// Cgroups whose end is watched for; the oldest are given up.
const MAX_WATCHED: usize = 16_384;
/// Cgroups looked at in one round.
const ROUND: usize = 2048;

/// Follows cgroups.
pub struct Watch {
    cgroups: Cgroups,
    members: Members,
    sources: Sources,
    seen: HashSet<CgroupKey>,
    watched: VecDeque<(CgroupKey, PathBuf)>,
}

impl Watch {
    /// For the v2 hierarchy at `root`.
    pub fn new(root: PathBuf, sources: Sources) -> Self {
        Self {
            cgroups: Cgroups::new(root),
            members: Members::new(),
            sources,
            seen: HashSet::new(),
            watched: VecDeque::new(),
        }
    }

    /// The sources of identity.
    pub fn sources(&mut self) -> &mut Sources {
        &mut self.sources
    }

    /// States of the sources, for `status` records.
    pub fn told(&self) -> Vec<proto::v1::SourceState> {
        self.sources.told()
    }

    /// Questions that found a full queue.
    pub fn unasked(&self) -> u64 {
        self.sources.unasked()
    }

    /// The path of v2 cgroup `id`, if it is new; of process `pid` or by a search of the tree.
    pub fn cgroup(&mut self, id: u64, pid: u32) -> Option<Event> {
        let path = self.cgroups.learn(id, pid)?;
        let folder = self.cgroups.folder(&path);
        self.add(CgroupKey { hierarchy: 0, id }, &path, &folder);
        Some(Event::Cgroup { id, path })
    }

    /// Where a process is in cgroup v1, on hosts that have it.
    pub fn member(&mut self, process: ProcessKey) -> Option<Event> {
        let (event, cgroup, folder) = self.members.of(process)?;
        if let Event::Member { path, .. } = &event
            && !self.seen.contains(&cgroup)
        {
            self.add(cgroup, path, &folder);
        }
        Some(event)
    }

    fn add(&mut self, cgroup: CgroupKey, path: &str, folder: &Path) {
        self.sources.ask_about(cgroup, path, folder);
        if Scope::of(path).rank() == Rank::User || !self.seen.insert(cgroup) {
            return;
        }
        self.watched.push_back((cgroup, folder.to_owned()));
        if self.watched.len() > MAX_WATCHED
            && let Some((cgroup, _)) = self.watched.pop_front()
        {
            self.seen.remove(&cgroup);
        }
    }

    /// Cgroups found to be gone, of some in turn.
    pub fn gone(&mut self, time_ns: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..self.watched.len().min(ROUND) {
            let Some((cgroup, folder)) = self.watched.pop_front() else { break };
            if is_gone(cgroup, &folder) {
                self.seen.remove(&cgroup);
                if cgroup.hierarchy == 0 {
                    self.cgroups.forget(cgroup.id);
                }
                events.push(Event::CgroupGone { time_ns, cgroup });
            } else {
                self.watched.push_back((cgroup, folder));
            }
        }
        events
    }
}
