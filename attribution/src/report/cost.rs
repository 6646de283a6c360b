//! What was spent, by workload, credential, model or session.

use std::collections::BTreeMap;

use proto::v1::{ModelCall, Record, record::Body};

use super::{MAX_ROWS, Rows, UNKNOWN, on_host, workload_name};
use crate::cost::Total;

/// By what calls are summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum By {
    /// Workload, else the executable.
    #[default]
    Workload,
    /// Fingerprint of the credential.
    Key,
    /// Provider and model that answered.
    Model,
    /// Session.
    Session,
}

/// A sum.
#[derive(Debug, Clone, Default)]
pub struct CostRow {
    /// What it is the sum of.
    pub name: String,
    /// More about it: the hint of a key, the agent of a session.
    pub detail: String,
    /// The sum.
    pub total: Total,
}

/// Sums calls.
#[derive(Debug, Default)]
pub struct CostReport {
    by: By,
    rows: Rows<CostRow>,
    /// Agents of sessions, by the name of the row.
    agents: BTreeMap<String, String>,
    total: Total,
}

impl CostReport {
    /// Sums by `by`.
    pub fn new(by: By) -> Self {
        Self { by, ..Self::default() }
    }

    /// Takes a record.
    pub fn record(&mut self, record: &Record) {
        match &record.body {
            Some(Body::ModelCall(call)) => {
                let (key, name, detail) = self.name(record, call);
                let row = self.rows.row(&key);
                (row.name, row.detail) = (name, detail);
                row.total.add(call);
                self.total.add(call);
            }
            Some(Body::Session(session))
                if self.by == By::Session && self.agents.len() < MAX_ROWS && !session.agent.is_empty() =>
            {
                self.agents.insert(on_host(record, &session.id), session.agent.clone());
            }
            _ => {}
        }
    }

    /// What a call is counted under, its name, and more about it.
    fn name(&self, record: &Record, call: &ModelCall) -> (String, String, String) {
        let (name, detail) = match self.by {
            By::Workload => (workload_name(call.workload.as_ref(), call.process.as_ref()), String::new()),
            By::Key => call
                .credential
                .as_ref()
                .map(|credential| (credential.fingerprint.clone(), credential.hint.clone()))
                .unwrap_or_default(),
            By::Model => {
                let models = [&call.model_served, &call.model_requested];
                let model = models.into_iter().find(|model| !model.is_empty());
                let provider = call.endpoint.as_ref().map_or("", |endpoint| endpoint.provider.as_str());
                (format!("{provider}/{}", model.map_or(UNKNOWN, String::as_str)), String::new())
            }
            By::Session => {
                return (on_host(record, &call.session), call.session.clone(), String::new());
            }
        };
        let name = if name.is_empty() { UNKNOWN.to_owned() } else { name };
        (name.clone(), name, detail)
    }

    /// The rows, the dearest first, and their sum.
    pub fn rows(self) -> (Vec<CostRow>, Total) {
        let agents = self.agents;
        let mut rows: Vec<CostRow> = self
            .rows
            .into_rows()
            .map(|(key, row)| {
                let name = if key == super::OTHERS { key.clone() } else { row.name };
                let name = if name.is_empty() { UNKNOWN.to_owned() } else { name };
                let detail = agents.get(&key).cloned().unwrap_or(row.detail);
                CostRow { name, detail, total: row.total }
            })
            .collect();
        rows.sort_by(|a, b| {
            let rank = |row: &CostRow| (row.total.nano, row.total.tokens_in_all(), row.total.calls);
            rank(b).cmp(&rank(a)).then_with(|| a.name.cmp(&b.name))
        });
        (rows, self.total)
    }
}
