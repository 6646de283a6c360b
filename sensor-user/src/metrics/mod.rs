//! Prometheus metrics and probes of the sensor, on a port of their own that is off unless configured.
//!
//! [`table`] names every metric. Most numbers are asked of the sensor when somebody scrapes ([`Health`]);
//! [`Tally`] counts those that only records tell.

mod collect;
mod tally;

use std::{path::PathBuf, sync::Arc};

use ::metrics::{Page, Subject, table::sensor as table};

use crate::{
    export::sink::Account,
    sensor::health::{Health, Probe},
};

pub use ::metrics::Server;
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

/// The running sensor, for the server of its metrics.
#[derive(Debug, Clone)]
pub struct Running {
    /// What the page is made of, apart from what `probe` says.
    pub sources: Sources,
    /// Asks the event loop.
    pub probe: Probe,
}

impl Sources {
    /// The page of one moment.
    fn page(&self, health: &Health) -> Page {
        let mut page = Page::new(table::METRICS);
        collect::fill(&mut page, health, self);
        page
    }
}

impl Subject for Running {
    async fn page(&self) -> Option<Page> {
        Some(self.sources.page(&self.probe.ask().await?))
    }

    async fn answers(&self) -> bool {
        self.probe.ask().await.is_some()
    }
}

#[cfg(test)]
mod tests;
