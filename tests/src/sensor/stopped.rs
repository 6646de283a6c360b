//! What a sensor leaves.

use std::process::ExitStatus;

use anyhow::{Context, Result};
use proto::v1::{ModelCall, Record, Status, record::Body};

use crate::paths::Scratch;

/// What a sensor left: its records, exit status and files.
#[derive(Debug)]
pub struct Stopped {
    /// All records, in order.
    pub records: Vec<Record>,
    /// How it ended.
    pub status: ExitStatus,
    /// Holds `stdout.jsonl`, `stderr.log` and the folder `state`.
    pub scratch: Scratch,
}

impl Stopped {
    /// The model calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &ModelCall> {
        calls(&self.records)
    }

    /// The status record written at exit.
    pub fn last_status(&self) -> Result<&Status> {
        let found = self.records.iter().rev().find_map(|record| match &record.body {
            Some(Body::Status(status)) if status.last => Some(status),
            _ => None,
        });
        found.context("the sensor wrote no last status record")
    }
}

/// The model calls among `records`.
pub fn calls(records: &[Record]) -> impl Iterator<Item = &ModelCall> {
    records.iter().filter_map(Record::model_call)
}
