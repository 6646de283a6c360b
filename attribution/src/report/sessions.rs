//! Sessions: who ran, for how long, and what it took.

use proto::v1::{Record, Session, record::Body};

use super::{Rows, on_host};
use crate::cost::Total;

/// One session.
#[derive(Debug, Clone, Default)]
pub struct SessionRow {
    /// The newest of its records; only what calls say of it when there is none.
    pub session: Session,
    /// Sum of its calls among the records.
    pub total: Total,
    /// Calls after its end, among the records.
    pub orphaned: u64,
}

impl SessionRow {
    /// Calls: as its own record says once it is over, else as the records have them.
    pub fn calls(&self) -> u64 {
        self.session.calls.max(self.total.calls)
    }

    /// Calls after its end.
    pub fn orphaned_calls(&self) -> u64 {
        self.session.orphaned_calls.max(self.orphaned)
    }

    /// Input and output tokens, from the same place as the calls.
    pub fn tokens(&self) -> (Option<u64>, Option<u64>) {
        match &self.session.tokens {
            Some(tokens) if self.session.calls >= self.total.calls => (tokens.input, tokens.output),
            _ => (self.total.input, self.total.output),
        }
    }

    /// Dollars as a decimal string, from the same place as the calls; empty when there are none.
    pub fn dollars(&self) -> String {
        match &self.session.cost {
            Some(cost) if self.session.calls >= self.total.calls => cost.amount.clone(),
            _ => self.total.dollars(),
        }
    }
}

/// Gathers sessions.
#[derive(Debug, Default)]
pub struct SessionsReport {
    rows: Rows<SessionRow>,
}

impl SessionsReport {
    /// Takes a record.
    pub fn record(&mut self, record: &Record) {
        match &record.body {
            Some(Body::Session(session)) => {
                let row = self.rows.row(&on_host(record, &session.id));
                // Records may come in any order; the one that knows most is the newest.
                let newer =
                    |one: &Session| (one.ended > 0, one.calls + one.orphaned_calls, one.state != "started");
                if newer(session) >= newer(&row.session) {
                    row.session = Session::clone(session);
                }
            }
            Some(Body::ModelCall(call)) if !call.session.is_empty() => {
                let row = self.rows.row(&on_host(record, &call.session));
                if row.session.id.is_empty() {
                    row.session.id.clone_from(&call.session);
                    row.session.process.clone_from(&call.process);
                    row.session.workload.clone_from(&call.workload);
                }
                match call.orphaned {
                    true => row.orphaned = row.orphaned.saturating_add(1),
                    false => row.total.add(call),
                }
            }
            _ => {}
        }
    }

    /// The sessions by their start.
    pub fn rows(self) -> Vec<SessionRow> {
        let mut rows: Vec<SessionRow> = self
            .rows
            .into_rows()
            .map(|(name, mut row)| {
                if name == super::OTHERS {
                    row.session = Session { id: name, ..Session::default() };
                }
                row
            })
            .collect();
        rows.sort_by(|a, b| (a.session.started, &a.session.id).cmp(&(b.session.started, &b.session.id)));
        rows
    }
}
