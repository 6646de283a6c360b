//! A record of each kind, for tests; the end-to-end tests of exports use the same.

use proto::v1::Record;

const LINES: &str = include_str!("../../../tests/fixtures/records.jsonl");

/// One of each kind: model call, flow, finding, credential access, session, status.
pub(crate) fn all() -> Vec<Record> {
    LINES.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
