//! The process table: one entry for each generation, kept for a while after its end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::event::{CgroupKey, ProcessImage, ProcessKey, Task};

/// Processes kept, alive or recently ended; the oldest ended ones make room.
pub const MAX_PROCESSES: usize = 65_536;
/// How long an ended process stays known for late events, nanoseconds.
const GRACE_NS: u64 = 120_000_000_000;
/// Ancestors told in a record.
pub const MAX_ANCESTORS: usize = 16;

/// Why a process' program is not known.
const NOT_SEEN: &str = "its program was never told: it is older than the sensor, or the event was lost";
const TABLE_FULL: &str = "process table full";

/// What is known of one process generation.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its name.
    pub key: ProcessKey,
    /// Its start in calendar time, nanoseconds. Set once: clock steps do not rename a process in records.
    pub started: u64,
    /// Who made it; stays the same when it is re-parented.
    pub parent: Option<ProcessKey>,
    /// The program, `None` when unknown.
    pub image: Option<Arc<ProcessImage>>,
    /// Real user id, once seen.
    pub uid: Option<u32>,
    /// Cgroup v2 id, once seen.
    pub cgroup_id: Option<u64>,
    /// Cgroup path of a process found in /proc.
    pub cgroup: Option<Arc<str>>,
    /// The known agent whose program it runs.
    pub agent: Option<Arc<str>>,
    /// Root process of the agent run that it belongs to; stays the same when that ends.
    pub root: Option<ProcessKey>,
    /// Processes of the table whose parent it is.
    children: u32,
    /// Cgroup v1 that says whose it is, as far as read.
    pub member: Option<CgroupKey>,
    ended_ns: Option<u64>,
    /// Resolution of the start time of a /proc entry that no kernel event has named yet.
    coarse_ns: Option<u64>,
}

/// Counts of what the table could not keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Entries of live processes given up because the table was full.
    pub evicted: u64,
}

/// All known processes.
#[derive(Debug, Default)]
pub struct ProcessTable {
    processes: HashMap<ProcessKey, Process>,
    /// The newest generation of each pid.
    pids: HashMap<u32, ProcessKey>,
    /// Ended processes in order of their end.
    ended: VecDeque<(u64, ProcessKey)>,
    /// Names of /proc entries that became exact, for whoever keeps processes by name.
    renamed: Vec<(ProcessKey, ProcessKey)>,
    /// Everything counted.
    pub dropped: Dropped,
    /// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`, nanoseconds.
    pub clock_ns: i64,
}

impl Process {
    fn new(key: ProcessKey) -> Self {
        Self {
            key,
            started: 0,
            parent: None,
            image: None,
            uid: None,
            cgroup_id: None,
            cgroup: None,
            agent: None,
            root: None,
            children: 0,
            member: None,
            ended_ns: None,
            coarse_ns: None,
        }
    }
}

impl ProcessTable {
    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// A process found in /proc, with its start rounded down to `tick_ns`.
    pub fn running(
        &mut self,
        key: ProcessKey,
        tick_ns: u64,
        parent: u32,
        uid: u32,
        image: ProcessImage,
        cgroup: &str,
    ) {
        let tick = tick_ns.max(1);
        if self.pids.get(&key.pid).is_some_and(|known| known.start_ns / tick >= key.start_ns / tick) {
            return; // its fork or exec was seen meanwhile
        }
        let mut process = Process::new(key);
        process.parent = self.pids.get(&parent).copied();
        process.image = Some(Arc::new(image));
        process.uid = Some(uid);
        process.cgroup = Some(cgroup.into());
        process.coarse_ns = Some(tick_ns);
        self.insert(process);
    }

    /// `parent` made `child`, which runs the same program until it says otherwise.
    pub fn fork(&mut self, parent: ProcessKey, child: ProcessKey) {
        self.name_exactly(parent);
        self.name_exactly(child);
        let mut process = Process::new(child);
        process.parent = Some(parent);
        if let Some(parent) = self.processes.get(&parent) {
            process.image.clone_from(&parent.image);
            process.uid = parent.uid;
            process.cgroup_id = parent.cgroup_id;
            process.cgroup.clone_from(&parent.cgroup);
            process.agent.clone_from(&parent.agent);
            process.root = parent.root;
            process.member = parent.member;
        }
        self.insert(process);
    }

    /// The process runs a new program.
    pub fn exec(&mut self, task: &Task, parent: ProcessKey, image: ProcessImage) {
        self.name_exactly(task.process);
        let known = self.processes.get(&task.process);
        let (known_parent, root, member) =
            known.map_or((None, None, None), |known| (known.parent, known.root, known.member));
        let mut process = Process::new(task.process);
        process.member = member;
        // The first parent is the one that made it; a later one only adopted it.
        process.parent = Some(known_parent.unwrap_or(parent));
        process.root = root.or_else(|| self.processes.get(&parent)?.root);
        process.image = Some(Arc::new(image));
        process.uid = Some(task.uid);
        process.cgroup_id = Some(task.cgroup_id);
        self.insert(process);
    }

    /// Where a process is in a cgroup v1 hierarchy.
    pub fn set_member(&mut self, key: ProcessKey, member: Option<CgroupKey>) {
        self.name_exactly(key);
        if let Some(process) = self.processes.get_mut(&key) {
            process.member = member;
        }
    }

    /// The process ended at `time_ns`.
    pub fn exit(&mut self, key: ProcessKey, time_ns: u64) {
        self.name_exactly(key);
        self.end(key, time_ns);
    }

    /// A process was seen to act: what the kernel says of it at that moment is the newest.
    pub fn seen(&mut self, task: &Task) {
        self.name_exactly(task.process);
        if let Some(process) = self.processes.get_mut(&task.process) {
            process.uid = Some(task.uid);
            if process.cgroup_id != Some(task.cgroup_id) {
                process.cgroup_id = Some(task.cgroup_id);
            }
        }
    }

    /// Says which known agent's program a process runs. It is the root of a run of that agent, unless its
    /// parent already belongs to one. Returns whether it now is such a root and was none before.
    pub fn label(&mut self, key: ProcessKey, agent: Option<Arc<str>>) -> bool {
        let Some(process) = self.processes.get(&self.exact(key)) else { return false };
        let key = process.key;
        let parent = process.parent.and_then(|parent| self.processes.get(&parent));
        let same = |root: ProcessKey| self.processes.get(&root).is_some_and(|root| root.agent == agent);
        let root = match (&agent, parent.and_then(|parent| parent.root)) {
            (None, _) => process.root,
            // The same agent below itself is a part of it; another agent is a run of its own.
            (Some(_), Some(root)) if root != key && same(root) => Some(root),
            (Some(_), _) => Some(key),
        };
        let new = agent.is_some() && root == Some(key) && process.root != root;
        if let Some(process) = self.processes.get_mut(&key) {
            (process.agent, process.root) = (agent, root);
        }
        new
    }

    /// Processes that stand under another name since this was asked last: before and now.
    pub fn renamed(&mut self) -> Vec<(ProcessKey, ProcessKey)> {
        std::mem::take(&mut self.renamed)
    }

    /// When a process ended, if it has.
    pub fn ended(&self, key: ProcessKey) -> Option<u64> {
        self.processes.get(&key)?.ended_ns
    }

    /// Forgets processes that ended long ago and have no descendants; the parents of a living process stay
    /// known, up to [`MAX_ANCESTORS`].
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((ended, key)) = self.ended.front().copied() {
            if ended.saturating_add(GRACE_NS) > now_ns {
                break;
            }
            self.ended.pop_front();
            if self.processes.get(&key).is_some_and(|process| process.children > 0) {
                self.shorten(key);
                self.ended.push_back((now_ns, key));
            } else {
                self.remove(key);
            }
        }
    }

    /// Gives up the ended ancestor of `key` that no record would tell any more, so that a program that goes on
    /// by forking itself keeps no endless chain.
    fn shorten(&mut self, key: ProcessKey) {
        let far = self.ancestors(key).nth(MAX_ANCESTORS - 1);
        if let Some(far) = far.filter(|far| far.ended_ns.is_some() && far.children <= 1).map(|far| far.key) {
            self.remove(far);
        }
    }

    /// Calendar time at which a generation started, nanoseconds; the same in every record.
    pub fn started(&self, key: ProcessKey) -> u64 {
        self.processes.get(&key).map_or_else(|| self.wall(key), |process| process.started)
    }

    /// Whether a generation is known and has not ended.
    pub fn is_alive(&self, key: ProcessKey) -> bool {
        self.processes.get(&key).is_some_and(|process| process.ended_ns.is_none())
    }

    fn wall(&self, key: ProcessKey) -> u64 {
        key.start_ns.saturating_add_signed(self.clock_ns)
    }

    fn remove(&mut self, key: ProcessKey) {
        let removed = self.processes.remove(&key);
        self.left(removed.and_then(|removed| removed.parent));
        if self.pids.get(&key.pid) == Some(&key) {
            self.pids.remove(&key.pid);
        }
    }

    /// What is known of a generation.
    pub fn get(&self, key: ProcessKey) -> Option<&Process> {
        self.processes.get(&key)
    }

    /// The process with this id that did something between `after_ns` and `before_ns`: the only one that was
    /// alive then, and, when told, the one that was `started` (start and its resolution, nanoseconds).
    pub fn opener(
        &self,
        pid: u32,
        after_ns: u64,
        before_ns: u64,
        started: Option<(u64, u64)>,
    ) -> Option<&Process> {
        let alive = |process: &&Process| {
            let ended = process.ended_ns.is_some_and(|ended| ended < after_ns);
            process.key.start_ns <= before_ns && !ended
        };
        let newest = self.processes.get(self.pids.get(&pid)?)?;
        let found = if newest.key.start_ns <= after_ns {
            Some(newest).filter(alive)
        } else {
            let mut fitting = self.processes.values().filter(|process| process.key.pid == pid).filter(alive);
            fitting.next().filter(|_| fitting.next().is_none())
        };
        let same = |process: &&Process| {
            started.is_none_or(|(start, tick)| start / tick.max(1) == process.key.start_ns / tick.max(1))
        };
        found.filter(same)
    }

    /// Ancestors of a process, nearest first, as far as they are known.
    pub fn ancestors(&self, key: ProcessKey) -> impl Iterator<Item = &Process> {
        let mut at = self.processes.get(&key).and_then(|process| process.parent);
        std::iter::from_fn(move || {
            let process = self.processes.get(&at?)?;
            at = process.parent.filter(|parent| *parent != process.key);
            Some(process)
        })
        .take(MAX_ANCESTORS)
    }

    /// Why a process' program is unknown.
    pub fn unknown_reason(&self) -> &'static str {
        if self.dropped.evicted > 0 { TABLE_FULL } else { NOT_SEEN }
    }

    /// A /proc entry becomes exact when the kernel names its process. It is the same process: every end
    /// after the start of the sensor is seen, and an ended entry is not taken.
    fn name_exactly(&mut self, key: ProcessKey) {
        if self.processes.contains_key(&key) {
            return;
        }
        let Some(coarse) = self.pids.get(&key.pid).copied() else { return };
        let Some(known) = self.processes.get(&coarse) else { return };
        let Some(tick) = known.coarse_ns else { return };
        let tick = tick.max(1);
        if known.ended_ns.is_some() || coarse.start_ns / tick != key.start_ns / tick {
            return;
        }
        if let Some(mut process) = self.processes.remove(&coarse) {
            process.key = key;
            process.started = self.wall(key);
            process.coarse_ns = None;
            if process.root == Some(coarse) {
                process.root = Some(key);
            }
            self.pids.insert(key.pid, key);
            self.processes.insert(key, process);
            self.renamed.push((coarse, key));
            for other in self.processes.values_mut() {
                for name in [&mut other.parent, &mut other.root] {
                    if *name == Some(coarse) {
                        *name = Some(key);
                    }
                }
            }
        }
    }

    fn insert(&mut self, mut process: Process) {
        let key = process.key;
        let known = self.processes.get(&key).map(|known| known.started);
        if known.is_none() && self.processes.len() >= MAX_PROCESSES {
            // Some of them are gone already.
            while let Some((_, ended)) = self.ended.pop_front() {
                self.remove(ended);
                if self.processes.len() < MAX_PROCESSES {
                    break;
                }
            }
            if self.processes.len() >= MAX_PROCESSES {
                self.dropped.evicted += 1;
                return;
            }
        }
        process.started = known.unwrap_or_else(|| self.wall(key));
        if let Some(parent) = process.parent.and_then(|parent| self.processes.get_mut(&parent)) {
            parent.children += 1;
        }
        let before = self.processes.insert(key, process);
        if let Some(before) = before {
            if let Some(process) = self.processes.get_mut(&key) {
                process.children = before.children;
            }
            self.left(before.parent);
        }
        // A pid is used again only after its process ended, so a lost end shows here.
        let newest = self.pids.get(&key.pid).copied().filter(|newest| *newest != key);
        match newest {
            Some(newer) if newer.start_ns > key.start_ns => self.end(key, newer.start_ns),
            older => {
                if let Some(older) = older {
                    self.end(older, key.start_ns);
                }
                self.pids.insert(key.pid, key);
            }
        }
    }

    /// A child of `parent` is not in the table any more.
    fn left(&mut self, parent: Option<ProcessKey>) {
        if let Some(parent) = parent.and_then(|parent| self.processes.get_mut(&parent)) {
            parent.children = parent.children.saturating_sub(1);
        }
    }

    /// The name under which a process stands in the table: that of its /proc entry until the kernel named it.
    fn exact(&self, key: ProcessKey) -> ProcessKey {
        let known = self.pids.get(&key.pid).filter(|_| !self.processes.contains_key(&key));
        known.copied().unwrap_or(key)
    }

    fn end(&mut self, key: ProcessKey, time_ns: u64) {
        if let Some(process) = self.processes.get_mut(&key)
            && process.ended_ns.is_none()
        {
            process.ended_ns = Some(time_ns);
            self.ended.push_back((time_ns, key));
        }
    }
}

#[cfg(test)]
mod tests;
