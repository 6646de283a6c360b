//! What is gathered of one session.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::v1::{self, ModelCall, Process, Workload};

use super::{EXITED, MAX_CREDENTIALS, Root, UNSEEN};
use crate::cost::Total;

/// One session.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) client: String,
    pub(super) children: u64,
    /// Calendar time of its end; 0 while it goes on.
    pub(super) ended: u64,
    /// Whether there is something to tell.
    pub(super) due: bool,
    /// Whether nothing told of the end of its root.
    pub(super) unseen: bool,
    /// Its start or last call.
    pub(super) last_ns: u64,
    /// Whether it stands among the ended ones.
    pub(super) kept: bool,
    agent: Option<Arc<str>>,
    parent: String,
    started: u64,
    process: Process,
    workload: Workload,
    total: Total,
    orphaned: u64,
    credentials: BTreeSet<String>,
}

impl Open {
    pub(super) fn new(id: String, root: &Root, started: u64, parent: Option<String>) -> Self {
        Self {
            id,
            client: String::new(),
            children: 0,
            ended: root.ended.unwrap_or(0),
            due: false,
            unseen: false,
            last_ns: 0,
            kept: false,
            agent: root.agent.clone(),
            parent: parent.unwrap_or_default(),
            started,
            process: root.process.clone(),
            workload: root.workload.clone(),
            total: Total::default(),
            orphaned: 0,
            credentials: BTreeSet::new(),
        }
    }

    /// Adds one call. Those after the end count by themselves and are in no sum.
    pub(super) fn add(&mut self, call: &ModelCall, orphaned: bool) {
        if self.client.is_empty() {
            self.client.clone_from(&call.session_id);
        }
        if orphaned {
            self.orphaned += 1;
            return;
        }
        self.total.add(call);
        if let Some(credential) = call.credential.as_ref().filter(|known| !known.fingerprint.is_empty())
            && self.credentials.len() < MAX_CREDENTIALS
        {
            self.credentials.insert(credential.fingerprint.clone());
        }
    }

    /// Why it is over.
    pub(super) fn end_reason(&self) -> &'static str {
        if self.unseen { UNSEEN } else { EXITED }
    }

    pub(super) fn has_calls(&self) -> bool {
        self.total.calls > 0
    }

    /// Whether processes that survive it still belong to it.
    pub(super) fn is_agent(&self) -> bool {
        self.agent.is_some()
    }

    pub(super) fn record(&self, state: &str, reason: &str) -> v1::Session {
        v1::Session {
            id: self.id.clone(),
            agent: self.agent.as_deref().unwrap_or_default().to_owned(),
            state: state.to_owned(),
            started: self.started,
            ended: self.ended,
            end_reason: reason.to_owned(),
            process: Some(self.process.clone()),
            workload: Some(self.workload.clone()),
            client_session_id: self.client.clone(),
            calls: self.total.calls,
            tokens: self.total.tokens(),
            cost: self.total.cost(),
            credentials: self.credentials.iter().cloned().collect(),
            children: self.children,
            orphaned_calls: self.orphaned,
            parent: self.parent.clone(),
            calls_without_cost: self.total.unpriced.saturating_add(self.total.subscription),
        }
    }
}
