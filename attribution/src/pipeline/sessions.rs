//! Sessions: which call belongs to which, and their records.

use std::sync::Arc;

use proto::v1::{self, record::Body};

use super::Attribution;
use crate::event::{ProcessKey, Task};
use crate::session::Root;

impl Attribution {
    /// A process was made.
    pub(super) fn forked(&mut self, child: ProcessKey) {
        if let Some(root) = self.processes.get(child).and_then(|child| child.root) {
            self.sessions.child(root);
        }
    }

    /// A process runs a program that is, or is not, a known agent's.
    pub(super) fn runs(&mut self, process: ProcessKey, agent: Option<Arc<str>>) {
        if !self.processes.label(process, agent) {
            return;
        }
        let record = self.sessions.start(&self.root(process), self.now_ns);
        self.session_records(record);
    }

    /// Says in `call` to which session it belongs; a session that begins with it is told before.
    pub(super) fn enter_session(&mut self, process: ProcessKey, call: &mut v1::ModelCall) {
        self.rename_sessions();
        let known = self.processes.get(process);
        let root = known.and_then(|known| known.root).unwrap_or_else(|| self.topmost(process));
        let (belongs, record) = self.sessions.call(&self.root(root), call, self.now_ns);
        self.session_records(record);
        (call.session, call.orphaned) = (belongs.session, belongs.orphaned);
    }

    /// A process ended at `time_ns`; it may be a root.
    pub(super) fn end_sessions(&mut self, process: ProcessKey, time_ns: u64) {
        self.rename_sessions();
        self.sessions.exit(process, self.wall(time_ns), self.now_ns);
    }

    /// Tells the sessions whose time has come.
    pub(super) fn tell_sessions(&mut self) {
        let records = self.sessions.due(self.now_ns);
        self.session_records(records);
    }

    /// Ends the sessions of processes whose end was lost.
    pub(super) fn sweep_sessions(&mut self) {
        let processes = &self.processes;
        let wall = self.wall(self.now_ns);
        self.sessions.sweep(|root| processes.is_alive(root), wall, self.now_ns);
    }

    /// Tells all that is open.
    pub(super) fn finish_sessions(&mut self) {
        let records = self.sessions.finish();
        self.session_records(records);
    }

    fn session_records(&mut self, sessions: impl IntoIterator<Item = v1::Session>) {
        for session in sessions {
            self.emit(self.now_ns, Body::Session(Box::new(session)));
        }
    }

    fn rename_sessions(&mut self) {
        for (from, to) in self.processes.renamed() {
            self.sessions.rename(from, to);
        }
    }

    /// The topmost of the ancestors in a row that run the same program as `process`.
    fn topmost(&self, process: ProcessKey) -> ProcessKey {
        let program = |key| self.processes.get(key).and_then(|known| known.image.as_ref());
        let Some(own) = program(process) else { return process };
        let same = self.processes.ancestors(process).take_while(|ancestor| {
            ancestor.image.as_ref().is_some_and(|image| (image.file, &image.exe) == (own.file, &own.exe))
        });
        same.last().map_or(process, |ancestor| ancestor.key)
    }

    fn root(&self, key: ProcessKey) -> Root {
        let known = self.processes.get(key);
        let task = Task {
            process: key,
            cgroup_id: known.and_then(|known| known.cgroup_id).unwrap_or_default(),
            ..Task::default()
        };
        let mut process = self.process(&task);
        process.uid = known.and_then(|known| known.uid);
        process.cgroup_id = known.and_then(|known| known.cgroup_id);
        let parent = known.and_then(|known| self.processes.get(known.parent?)?.root);
        Root {
            key,
            agent: known.and_then(|known| known.agent.clone()),
            workload: self.workload(&task, &process),
            process,
            parent: parent.filter(|parent| *parent != key),
            ended: self.processes.ended(key).map(|ended| self.wall(ended)),
        }
    }
}
