//! Prometheus metrics and probes, off unless an address is given.
//!
//! What the store knows it is asked when somebody scrapes; [`Traffic`] counts what never reaches it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ::metrics::{Durations, Names, Page, Subject, host, table::collector as table};

use crate::{
    archive,
    fleet::Kind,
    listen::Refusals,
    store::{RECORDS, Store, Summary},
};

/// What streams of sensors take and refuse.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Batches with records of another host than the certificate's.
    pub forged: AtomicU64,
    /// Batches that are none.
    pub malformed: AtomicU64,
    /// Batches that could not be stored, for now.
    pub storage: AtomicU64,
    /// From a batch's arrival to its acknowledgement.
    pub acks: Durations,
    streams: AtomicU64,
}

/// A stream that is open, until this is dropped.
pub struct Open(Arc<Traffic>);

/// Everything that the page is made of.
#[derive(Clone)]
pub struct Sources {
    /// Asked for the rest.
    pub store: Store,
    /// Counts of streams.
    pub traffic: Arc<Traffic>,
    /// Counts of connections that were not served.
    pub refusals: Arc<Refusals>,
    /// Folder of state.
    pub folder: PathBuf,
    /// Bytes that each tenant's log may take.
    pub retain_bytes: u64,
    /// When the collector started.
    pub started: SystemTime,
}

impl Traffic {
    /// Notes a stream.
    pub fn open(self: &Arc<Self>) -> Open {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Subject for Sources {
    async fn page(&self) -> Option<Page> {
        let summary = self.store.ask().await?;
        let mut page = Page::new(table::METRICS);
        page.add(table::BUILD, [env!("CARGO_PKG_VERSION")], 1.0);
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        page.add(table::START_TIME, [], started.as_secs_f64());
        host::process(&mut page, table::MEMORY, table::CPU);
        self.arrivals(&mut page);
        page.add(table::FAILING, [], f64::from(u8::from(summary.failing)));
        page.add(table::LOG_LIMIT, [], self.retain_bytes as f64);
        self.tenants(&mut page, &summary);
        Some(page)
    }

    async fn answers(&self) -> bool {
        self.store.ask().await.is_some()
    }
}

impl Sources {
    fn arrivals(&self, page: &mut Page) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let (traffic, refusals) = (&self.traffic, &self.refusals);
        page.add(table::STREAMS, [], count(&traffic.streams));
        page.histogram(table::ACK, &traffic.acks);
        for (cause, counter) in
            [("handshake", &refusals.handshake), ("nameless", &refusals.nameless), ("limit", &refusals.limit)]
        {
            page.add(table::CONNECTIONS_REFUSED, [cause], count(counter));
        }
        for (cause, counter) in [
            (Kind::ForgedHost.name(), &traffic.forged),
            ("malformed", &traffic.malformed),
            ("storage", &traffic.storage),
        ] {
            page.add(table::BATCHES_REFUSED, [cause], count(counter));
        }
        let (waiting, limit) = self.store.queue();
        page.add(table::QUEUE, [], waiting as f64);
        page.add(table::QUEUE_LIMIT, [], limit as f64);
    }

    fn tenants(&self, page: &mut Page, summary: &Summary) {
        for (name, tenant) in &summary.tenants {
            page.add(table::SENSORS, [name, "heard"], tenant.heard as f64);
            page.add(table::SENSORS, [name, "silent"], tenant.silent as f64);
            for (kind, count) in Kind::ALL.into_iter().zip(tenant.reports) {
                page.add(table::REPORTS, [name, kind.name()], count as f64);
            }
            let stored = &tenant.stored;
            page.add(table::RECORDS, [name], stored.records as f64);
            page.add(table::BYTES, [name], stored.bytes as f64);
            page.add(table::DUPLICATES, [name], stored.duplicates as f64);
            page.add(table::MISSING, [name], stored.missing as f64);
            page.add(table::LOG_SEGMENT, [name], tenant.position.segment as f64);
            page.add(table::LOG_RECORDS, [name], tenant.position.records as f64);
            let log = archive::folder(&self.folder.join(RECORDS), name);
            page.add(table::LOG_BYTES, [name], host::size(&log) as f64);
            stored.tally.fill(page, &Names::TENANT, Some(name));
        }
    }
}
