//! Summaries of records: records in, rows out. One report a file.

mod cost;
mod coverage;
mod keys;
mod sessions;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use cost::{By, CostReport, CostRow};
pub use coverage::{CoverageReport, ExecutableRow, Joins};
pub use keys::{KeyRow, KeysReport};
pub use sessions::{SessionRow, SessionsReport};

use proto::v1::{Process, Record, Workload};

/// Rows of one report; what comes after them is summed up in one row more.
pub const MAX_ROWS: usize = 20_000;
/// Names listed in one cell; more are counted.
pub const MAX_NAMES: usize = 64;
/// Name of the row for all that has no row of its own.
pub const OTHERS: &str = "(others)";
/// What is shown where a record names nothing.
pub const UNKNOWN: &str = "unknown";

/// Rows by name, and one for what found no room.
#[derive(Debug, Clone)]
struct Rows<R> {
    rows: BTreeMap<String, R>,
    others: Option<R>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), others: None }
    }
}

impl<R: Default> Rows<R> {
    /// The row of this name.
    fn row(&mut self, name: &str) -> &mut R {
        if !self.rows.contains_key(name) && self.rows.len() >= MAX_ROWS {
            return self.others.get_or_insert_default();
        }
        self.rows.entry(name.to_owned()).or_default()
    }

    /// All rows with their names, the others last.
    fn into_rows(self) -> impl Iterator<Item = (String, R)> {
        self.rows.into_iter().chain(self.others.map(|others| (OTHERS.to_owned(), others)))
    }
}

/// Some names, at most [`MAX_NAMES`], and how many there were besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The names, in order.
    pub names: BTreeSet<String>,
    /// Mentions of names that found no room.
    pub more: u64,
}

impl Names {
    fn add(&mut self, name: &str) {
        if name.is_empty() || self.names.contains(name) {
            return;
        }
        if self.names.len() < MAX_NAMES {
            self.names.insert(name.to_owned());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// The first and last time at which something was seen, nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// First.
    pub first: u64,
    /// Last.
    pub last: u64,
}

impl Seen {
    fn at(&mut self, time: u64) {
        self.first = if self.first == 0 { time } else { self.first.min(time) };
        self.last = self.last.max(time);
    }
}

/// A workload's id, else the executable, else `unknown`.
fn workload_name(workload: Option<&Workload>, process: Option<&Process>) -> String {
    let id = workload.map(|workload| workload.id.as_str()).filter(|id| !id.is_empty());
    id.map_or_else(|| executable(process).to_owned(), str::to_owned)
}

fn executable(process: Option<&Process>) -> &str {
    let exe = process.map(|process| process.exe.as_str()).filter(|exe| !exe.is_empty());
    exe.unwrap_or(UNKNOWN)
}

/// What is only unique on one host, with that host.
fn on_host(record: &Record, name: &str) -> String {
    let host = record.sensor.as_ref().map(|sensor| sensor.host.as_str()).unwrap_or_default();
    format!("{host} {name}")
}
