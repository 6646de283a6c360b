//! Prometheus metrics and probes, on a port of their own that is off unless configured.
//!
//! [`table`] names every metric. Most numbers are asked of the sensor when somebody scrapes ([`Health`]);
//! [`tally`] counts those that only records tell. No label is a pid or the fingerprint of a key.

mod collect;
#[cfg(test)]
mod document;
mod page;
mod server;
pub mod table;
mod tally;

use std::{path::PathBuf, sync::Arc};

use crate::{export::sink::Account, sensor::health::Health};

pub use server::Server;
pub use tally::Tally;

/// Everything that metrics are made of, apart from what the running sensor is asked.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Counts from records.
    pub tally: Tally,
    /// Receivers of records.
    pub receivers: Vec<Account>,
    /// Folder of the flow log and the size it may grow to, bytes; nothing when no log is kept.
    pub log: Option<(PathBuf, u64)>,
    /// How sending to collectors goes; nothing when none is configured.
    pub uplink: Option<Arc<uplink::Progress>>,
    /// Size of the buffer for kernel events, bytes.
    pub ring_bytes: u32,
}

impl Sources {
    /// The page of one moment.
    fn page(&self, health: &Health) -> page::Page {
        let mut page = page::Page::default();
        collect::fill(&mut page, health, self);
        page
    }
}
