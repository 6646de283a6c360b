//! How much is known: the three joins of calls, and the plaintext of flows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proto::v1::{Flow, ModelCall, Record, record::Body};

use super::{MAX_ROWS, Rows, UNKNOWN, executable, on_host};

/// Flows whose calls are kept until the flow's own record comes.
const MAX_FLOWS: usize = 65_536;
/// Layer of a connection without TLS.
const NO_TLS: &str = "no tls";
/// Why a row of calls has no bytes.
const FLOW_OPEN: &str = "its flow is not over";

/// Calls by what is known of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Joins {
    /// All calls.
    pub calls: u64,
    /// With a workload and a process that is known.
    pub identity: u64,
    /// With a credential.
    pub credential: u64,
    /// With a credential that has an owner in the policy or an origin.
    pub credential_scope: u64,
    /// In a session that has ended.
    pub session_closed: u64,
    /// In a session that goes on, as far as the records say.
    pub session_open: u64,
    /// After the end of their session.
    pub session_orphaned: u64,
    /// With all three: identity, credential in scope, and a session that is closed or open.
    pub governed: u64,
}

/// Flows of one executable that were read alike.
#[derive(Debug, Clone, Default)]
pub struct ExecutableRow {
    /// Path of the executable.
    pub executable: String,
    /// `plaintext`, `partial` or `none`.
    pub coverage: String,
    /// TLS library, or `no tls`.
    pub layer: String,
    /// How calls were bound to their flows.
    pub method: String,
    /// Why there is no plaintext.
    pub reason: String,
    /// Flows.
    pub flows: u64,
    /// Calls seen on them.
    pub calls: u64,
    /// Bytes sent and received.
    pub bytes: u64,
}

/// A call of which it is not yet known whether its session ends.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    calls: u64,
    governed: u64,
}

/// Sums up what is known.
#[derive(Debug, Default)]
pub struct CoverageReport {
    joins: Joins,
    /// Calls by session.
    sessions: BTreeMap<String, Waiting>,
    ended: BTreeSet<String>,
    /// Calls of flows whose record has not come: executable, binding, number.
    flows: HashMap<String, (String, String, u64)>,
    rows: Rows<ExecutableRow>,
}

impl CoverageReport {
    /// Takes a record.
    pub fn record(&mut self, record: &Record) {
        match &record.body {
            Some(Body::ModelCall(call)) => {
                self.call(record, call);
                self.call_on_flow(record, call);
            }
            Some(Body::Flow(flow)) => self.flow(record, flow),
            Some(Body::Session(session)) if session.state == "ended" && self.ended.len() < MAX_ROWS => {
                self.ended.insert(on_host(record, &session.id));
            }
            _ => {}
        }
    }

    fn call(&mut self, record: &Record, call: &ModelCall) {
        let process = call.process.as_ref().is_some_and(|process| process.unknown_reason.is_empty());
        let identity = process && call.workload.as_ref().is_some_and(|workload| !workload.id.is_empty());
        let credential = call.credential.as_ref().filter(|credential| !credential.fingerprint.is_empty());
        let scope = credential
            .and_then(|credential| credential.origin.as_ref())
            .is_some_and(|origin| !matches!(origin.r#type.as_str(), "" | "unknown"));
        let joins = &mut self.joins;
        joins.calls += 1;
        joins.identity += u64::from(identity);
        joins.credential += u64::from(credential.is_some());
        joins.credential_scope += u64::from(scope);
        joins.session_orphaned += u64::from(call.orphaned);
        if call.session.is_empty() || call.orphaned {
            return;
        }
        let key = on_host(record, &call.session);
        // Sessions that find no room count as open.
        let room = self.sessions.len() < MAX_ROWS || self.sessions.contains_key(&key);
        let waiting = self.sessions.entry(if room { key } else { String::new() }).or_default();
        waiting.calls += 1;
        waiting.governed += u64::from(identity && scope);
    }

    fn call_on_flow(&mut self, record: &Record, call: &ModelCall) {
        let executable = executable(call.process.as_ref());
        let flow = on_host(record, &call.flow_id);
        let known = self.flows.contains_key(&flow) || self.flows.len() < MAX_FLOWS;
        if call.flow_id.is_empty() || !known {
            let reason = if call.flow_id.is_empty() { &call.binding_reason } else { FLOW_OPEN };
            self.add(executable, "plaintext", UNKNOWN, &call.binding, reason, (0, 1, 0));
            return;
        }
        let calls = self.flows.entry(flow).or_insert((executable.to_owned(), call.binding.clone(), 0));
        calls.2 += 1;
    }

    fn flow(&mut self, record: &Record, flow: &Flow) {
        let calls = self.flows.remove(&on_host(record, &flow.id));
        let (binding, calls) = calls.map(|(_, binding, calls)| (binding, calls)).unwrap_or_default();
        let bytes = flow.bytes_sent.unwrap_or(0).saturating_add(flow.bytes_received.unwrap_or(0));
        let executable = executable(flow.process.as_ref()).to_owned();
        match &flow.tls {
            Some(tls) => {
                let library = if tls.library.is_empty() { UNKNOWN } else { &tls.library };
                let counts = (1, calls, bytes);
                self.add(&executable, &tls.coverage, library, &binding, &tls.coverage_reason, counts);
            }
            None => self.add(&executable, "plaintext", NO_TLS, &binding, "", (1, calls, bytes)),
        }
    }

    fn add(
        &mut self,
        executable: &str,
        coverage: &str,
        layer: &str,
        method: &str,
        reason: &str,
        (flows, calls, bytes): (u64, u64, u64),
    ) {
        let key = [executable, coverage, layer, method, reason].join("\n");
        let row = self.rows.row(&key);
        if row.executable.is_empty() {
            row.executable = executable.to_owned();
            row.coverage = coverage.to_owned();
            row.layer = layer.to_owned();
            row.method = method.to_owned();
            row.reason = reason.to_owned();
        }
        row.flows += flows;
        row.calls += calls;
        row.bytes = row.bytes.saturating_add(bytes);
    }

    /// The joins, and the executables with the most calls and bytes first.
    pub fn rows(mut self) -> (Joins, Vec<ExecutableRow>) {
        let mut joins = self.joins;
        for (session, waiting) in &self.sessions {
            let ended = self.ended.contains(session);
            let count = if ended { &mut joins.session_closed } else { &mut joins.session_open };
            *count += waiting.calls;
            joins.governed += waiting.governed;
        }
        let mut left: Vec<_> = std::mem::take(&mut self.flows).into_iter().collect();
        left.sort_unstable();
        for (_, (executable, binding, calls)) in left {
            self.add(&executable, "plaintext", UNKNOWN, &binding, FLOW_OPEN, (1, calls, 0));
        }
        let mut rows: Vec<ExecutableRow> = self
            .rows
            .into_rows()
            .map(|(name, row)| match name == super::OTHERS {
                true => ExecutableRow { executable: name, ..row },
                false => row,
            })
            .collect();
        rows.sort_by(|a, b| {
            (b.calls, b.bytes, &a.executable, &a.reason).cmp(&(a.calls, a.bytes, &b.executable, &b.reason))
        });
        (joins, rows)
    }
}
