//! Sessions: one bounded run of an agent, from its root process' first call or start to its end.
//!
//! The root of a known agent is the process that runs its program and whose parent belongs to no run of the
//! same agent; everything that descends from it belongs to it, for ever. A program that is no known agent
//! has a session too: its root is the topmost of the ancestors in a row that run the same program, so that
//! the workers of a script belong together and a curl that a shell started stands alone.
//!
//! Some clients name their own session in requests. The first that a root names is the root's session;
//! every further one is a session of its own, which ends with the root. Sessions are named by process
//! generation, and a client's name counts only together with its root: nobody can enter another's session.

mod agent;
mod open;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proto::v1;

pub use agent::Agents;
use open::Open;

use crate::event::ProcessKey;

/// Sessions followed; a further one is counted, and its calls still name it.
pub const MAX_SESSIONS: usize = 8192;
/// Ended sessions of known agents that are kept to count the calls of what survived them.
pub const MAX_ENDED: usize = 1024;
/// Sessions that one root may name; further calls belong to the root's first.
pub const MAX_CLIENT_SESSIONS: usize = 64;
/// Credentials told of one session.
pub const MAX_CREDENTIALS: usize = 16;
/// How long without a call a session goes on whose root is not seen to live, nanoseconds.
const UNSEEN_NS: u64 = 60_000_000_000;
/// How long after the end of its root a session is told: its last calls may be told after it, nanoseconds.
pub const SETTLE_NS: u64 = 2_000_000_000;
/// How long calls after an end are gathered before it is told again, nanoseconds.
const AGAIN_NS: u64 = 60_000_000_000;

/// States in records.
const STARTED: &str = "started";
const OPEN: &str = "open";
const ENDED: &str = "ended";
/// Reasons of an end.
const EXITED: &str = "its root process ended";
const STOPPED: &str = "the sensor stopped";
const UNSEEN: &str = "its root process is gone, its end was not seen";

/// What names a session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    root: ProcessKey,
    /// The client's own name of a further session.
    client: Option<Arc<str>>,
}

/// The root of a session, as a record tells it.
#[derive(Debug, Clone, Default)]
pub struct Root {
    /// The process.
    pub key: ProcessKey,
    /// Label of a known agent.
    pub agent: Option<Arc<str>>,
    /// The process in full.
    pub process: v1::Process,
    /// Its workload.
    pub workload: v1::Workload,
    /// The root of the run that started this one.
    pub parent: Option<ProcessKey>,
    /// When it ended, calendar time, if it has.
    pub ended: Option<u64>,
}

/// What a call learns from its session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belongs {
    /// Id of the session.
    pub session: String,
    /// Whether the session had ended.
    pub orphaned: bool,
}

/// All sessions that are not over, and those that survivors may still belong to.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<Key, Open>,
    /// What has to be told, and when.
    due: BTreeSet<(u64, Key)>,
    /// Ended sessions of known agents, the oldest first.
    ended: VecDeque<Key>,
    /// Sessions not followed because the table was full.
    pub refused: u64,
}

impl Sessions {
    /// Sessions in the table.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A session begins; its record, unless it is known or there is no room.
    pub fn start(&mut self, root: &Root, now_ns: u64) -> Option<v1::Session> {
        let key = Key { root: root.key, client: None };
        let record = self.open(key.clone(), root, root.process.start_time);
        if let Some(open) = self.sessions.get_mut(&key) {
            open.last_ns = now_ns;
        }
        record
    }

    fn open(&mut self, key: Key, root: &Root, started: u64) -> Option<v1::Session> {
        if self.sessions.contains_key(&key) {
            return None;
        }
        if self.sessions.len() >= MAX_SESSIONS && !self.forget_ended() {
            self.refused += 1;
            return None;
        }
        let parent = root.parent.and_then(|root| self.sessions.get(&Key { root, client: None }));
        let open =
            Open::new(id(root, key.client.as_deref()), root, started, parent.map(|open| open.id.clone()));
        let record = open.record(STARTED, "");
        self.sessions.insert(key, open);
        Some(record)
    }

    /// A process of this root's session made another.
    pub fn child(&mut self, root: ProcessKey) {
        if let Some(open) = self.sessions.get_mut(&Key { root, client: None }) {
            open.children += 1;
        }
    }

    /// A process that stood under another name: that of its entry in /proc.
    pub fn rename(&mut self, from: ProcessKey, to: ProcessKey) {
        for key in self.of(from) {
            if let Some(open) = self.sessions.remove(&key) {
                self.sessions.insert(Key { root: to, client: key.client }, open);
            }
        }
    }

    /// A call below `root`, which is over at `now_ns`; what it belongs to, and the record of a session that it begins.
    pub fn call(&mut self, root: &Root, call: &v1::ModelCall, now_ns: u64) -> (Belongs, Option<v1::Session>) {
        let orphaned = root.ended.is_some_and(|ended| call.started >= ended);
        let (key, started) = self.key(root, call, orphaned);
        let record = if orphaned { None } else { self.open(key.clone(), root, started) };
        let Some(open) = self.sessions.get_mut(&key) else {
            return (Belongs { session: id(root, key.client.as_deref()), orphaned }, record);
        };
        open.add(call, orphaned);
        open.last_ns = now_ns;
        let belongs = Belongs { session: open.id.clone(), orphaned };
        if root.ended.is_some() && !open.due {
            open.due = true;
            self.due.insert((now_ns.saturating_add(AGAIN_NS), key));
        }
        (belongs, record)
    }

    /// The session of a call, and its start should it begin with it.
    fn key(&self, root: &Root, call: &v1::ModelCall, orphaned: bool) -> (Key, u64) {
        let first = Key { root: root.key, client: None };
        let known = self.sessions.get(&first);
        let start = root.process.start_time;
        let its_own = known.is_none_or(|open| open.client.is_empty() || open.client == call.session_id);
        if call.session_id.is_empty() || its_own {
            return (first, start);
        }
        let own = Key { root: root.key, client: Some(call.session_id.as_str().into()) };
        let full = self.of(root.key).len() > MAX_CLIENT_SESSIONS;
        if !self.sessions.contains_key(&own) && (full || orphaned) {
            return (first, start);
        }
        (own, call.started)
    }

    /// The root ended; its sessions are told once their last calls are.
    pub fn exit(&mut self, root: ProcessKey, ended: u64, now_ns: u64) {
        for key in self.of(root) {
            if let Some(open) = self.sessions.get_mut(&key) {
                open.ended = ended;
                open.due = true;
                self.due.insert((now_ns.saturating_add(SETTLE_NS), key));
            }
        }
    }

    /// Records of sessions that ended some time ago, or had calls after that.
    pub fn due(&mut self, now_ns: u64) -> Vec<v1::Session> {
        let mut records = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now_ns) {
            let Some((_, key)) = self.due.pop_first() else { break };
            let Some(open) = self.sessions.get_mut(&key) else { continue };
            records.push(open.record(ENDED, open.end_reason()));
            open.due = false;
            if !open.is_agent() {
                self.sessions.remove(&key);
            } else if !std::mem::replace(&mut open.kept, true) {
                self.ended.push_back(key);
                while self.ended.len() > MAX_ENDED && self.forget_ended() {}
            }
        }
        records
    }

    /// Ends sessions whose root is not alive, though nothing told of its end.
    pub fn sweep(&mut self, alive: impl Fn(ProcessKey) -> bool, now: u64, now_ns: u64) {
        for (key, open) in &mut self.sessions {
            let quiet = open.last_ns.saturating_add(UNSEEN_NS) <= now_ns;
            if open.ended == 0 && quiet && !alive(key.root) {
                (open.ended, open.due, open.unseen) = (now, true, true);
                self.due.insert((now_ns, key.clone()));
            }
        }
    }

    /// What there is to tell when the sensor stops.
    pub fn finish(&mut self) -> Vec<v1::Session> {
        let mut records = Vec::new();
        for open in std::mem::take(&mut self.sessions).into_values() {
            match (open.ended, open.due) {
                (0, _) if open.has_calls() => records.push(open.record(OPEN, STOPPED)),
                (1.., true) => records.push(open.record(ENDED, open.end_reason())),
                _ => {}
            }
        }
        *self = Self { refused: self.refused, ..Self::default() };
        records
    }

    /// Names of the sessions of a root, its first one first.
    fn of(&self, root: ProcessKey) -> Vec<Key> {
        let from = Key { root, client: None };
        self.sessions.range(from..).map(|(key, _)| key).take_while(|key| key.root == root).cloned().collect()
    }

    fn forget_ended(&mut self) -> bool {
        let Some(key) = self.ended.pop_front() else { return false };
        self.sessions.remove(&key);
        true
    }
}

/// The name of a session in records: its root's pid and start, and the client's own name of a further one.
fn id(root: &Root, client: Option<&str>) -> String {
    let own = format!("{}-{}", root.key.pid, root.process.start_time);
    match client {
        Some(client) => format!("{own}:{client}"),
        None => own,
    }
}
