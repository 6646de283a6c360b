//! Records to a receiver while the sensor runs: a bounded queue, a task that empties it, and counts that add up.
//!
//! offered = delivered + grouped + dropped, by cause, once the task has ended.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attribution::{detect::NotifyLimits, filter::Filter};
use proto::v1::{Loss, Record};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    deliver::{Address, Target},
    intake::Intake,
};
use crate::sink::Sink;

/// Records that wait for a receiver; more are dropped and counted.
pub const QUEUE: usize = 4096;
/// How long a batch is tried.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time for what still waits when the sensor stops.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Before the name of a receiver in status records.
const SECTION: &str = "export.";

/// What became of records.
#[derive(Debug, Default)]
struct Counts {
    offered: AtomicU64,
    delivered: AtomicU64,
    /// Findings that were told with others, or not worth a word.
    grouped: AtomicU64,
    queue_full: AtomicU64,
    refused: AtomicU64,
    gave_up: AtomicU64,
}

/// One receiver.
pub struct Exporter {
    name: String,
    filter: Filter,
    queue: mpsc::Sender<Record>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts sending what `filter` lets through, of findings as often as `limits` say, each if there are none. Has
    /// to be called in the event loop.
    pub fn start(
        name: &str,
        address: &Address,
        filter: Filter,
        limits: Option<NotifyLimits>,
    ) -> anyhow::Result<Self> {
        let target = Target::open(address)?;
        let (queue, records) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let name = format!("{SECTION}{name}");
        let intake = Intake::new(records, address.batch(), limits);
        let task = tokio::spawn(send(target, intake, counts.clone(), name.clone()));
        Ok(Self { name, filter, queue, counts, task })
    }

    /// What becomes of its records, for who outlives it.
    pub fn account(&self) -> Account {
        Account { name: self.name.clone(), counts: self.counts.clone() }
    }

    /// Records that the receiver did not get so far, by cause.
    pub fn dropped(&self) -> Vec<Loss> {
        self.counts.dropped(&self.name)
    }

    /// Sends what still waits, for a bounded time, and tells what could not be sent.
    pub async fn finish(self) {
        let Self { name, queue, counts, mut task, .. } = self;
        drop(queue);
        if timeout(LAST_WITHIN, &mut task).await.is_err() {
            task.abort();
        }
        let [offered, delivered, grouped] =
            [&counts.offered, &counts.delivered, &counts.grouped].map(|count| count.load(Ordering::Relaxed));
        let dropped = offered.saturating_sub(delivered + grouped);
        if dropped > 0 {
            tracing::warn!(offered, delivered, grouped, dropped, "{name}: not all records were delivered");
        }
    }
}

impl Sink for Exporter {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.filter.matches(record) {
            self.counts.offered.fetch_add(1, Ordering::Relaxed);
            if self.queue.try_send(record.clone()).is_err() {
                self.counts.queue_full.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What became of the records for one receiver.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    counts: Arc<Counts>,
}

impl Account {
    /// The receiver, as in the configuration.
    pub fn receiver(&self) -> &str {
        self.name.strip_prefix(SECTION).unwrap_or(&self.name)
    }

    /// Records it was to get.
    pub fn offered(&self) -> u64 {
        self.counts.offered.load(Ordering::Relaxed)
    }

    /// Records it took.
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Relaxed)
    }

    /// Records it did not get, by every cause.
    pub fn dropped(&self) -> [(&'static str, u64); 3] {
        self.counts.causes()
    }
}

impl Counts {
    fn causes(&self) -> [(&'static str, u64); 3] {
        [("queue_full", &self.queue_full), ("refused", &self.refused), ("gave_up", &self.gave_up)]
            .map(|(cause, count)| (cause, count.load(Ordering::Relaxed)))
    }

    fn dropped(&self, name: &str) -> Vec<Loss> {
        let loss = |(cause, count): (&str, u64)| {
            (count > 0).then(|| Loss { kind: name.to_owned(), cause: cause.to_owned(), count })
        };
        self.causes().into_iter().filter_map(loss).collect()
    }
}

async fn send(mut target: Target, mut intake: Intake, counts: Arc<Counts>, name: String) {
    while let Some(batch) = intake.next().await {
        counts.grouped.store(intake.grouped(), Ordering::Relaxed);
        let count = batch.len() as u64;
        match target.deliver(&batch, PATIENCE).await {
            Ok(accepted) => {
                let refused = accepted.refused.min(count);
                counts.delivered.fetch_add(count - refused, Ordering::Relaxed);
                counts.refused.fetch_add(refused, Ordering::Relaxed);
            }
            Err(failure) => {
                tracing::warn!(error = failure.message, count, "{name}: records were not delivered");
                let cause = if failure.retry { &counts.gave_up } else { &counts.refused };
                cause.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
    counts.grouped.store(intake.grouped(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
