//! From the queue of a receiver to batches: records that wait for company, findings that wait for their time.

use std::time::Duration;

use attribution::detect::{Notification, Notifier, NotifyLimits};
use proto::v1::Record;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, sleep_until},
};

/// How long a batch waits for company.
const LINGER: Duration = Duration::from_millis(200);

/// What is taken out of a queue.
pub(super) struct Intake {
    queue: Receiver<Record>,
    notifier: Option<Notifier>,
    /// Most records of a batch.
    most: usize,
    ready: Vec<Record>,
    started: Instant,
    taken: u64,
    given: u64,
}

impl Intake {
    /// Batches of at most `most` records of `queue`, with findings as often as `limits` say.
    pub(super) fn new(queue: Receiver<Record>, most: usize, limits: Option<NotifyLimits>) -> Self {
        let since = jiff::Timestamp::now().as_nanosecond().try_into().unwrap_or_default();
        let notifier = limits.map(|limits| Notifier::new(limits, since));
        Self { queue, notifier, most, ready: Vec::new(), started: Instant::now(), taken: 0, given: 0 }
    }

    /// Records that were taken and are in no batch: they wait, or were told with others, or need not be told.
    pub(super) fn grouped(&self) -> u64 {
        self.taken.saturating_sub(self.given)
    }

    /// The next batch; nothing when the queue is closed and empty.
    pub(super) async fn next(&mut self) -> Option<Vec<Record>> {
        while self.ready.is_empty() {
            let next = self.notifier.as_ref().and_then(Notifier::next);
            let time = next.map(|at| self.started + Duration::from_nanos(at));
            tokio::select! {
                record = self.queue.recv() => match record {
                    Some(record) => self.take(record),
                    None => {
                        self.notify(|notifier, now| notifier.rest(now).into_iter().collect());
                        if self.ready.is_empty() {
                            return None;
                        }
                    }
                },
                () = at(time) => self.notify(Notifier::due),
            }
        }
        // A closed queue has nothing to wait for.
        if self.ready.len() < self.most && !self.queue.is_closed() {
            sleep(LINGER).await;
        }
        while self.ready.len() < self.most
            && let Ok(record) = self.queue.try_recv()
        {
            self.take(record);
        }
        let batch: Vec<Record> = self.ready.drain(..self.ready.len().min(self.most)).collect();
        self.given += batch.len() as u64;
        Some(batch)
    }

    fn take(&mut self, record: Record) {
        self.taken += 1;
        if self.notifier.is_some() {
            self.notify(|notifier, now| notifier.record(record, now));
        } else {
            self.ready.push(record);
        }
    }

    fn notify(&mut self, tell: impl FnOnce(&mut Notifier, u64) -> Vec<Notification>) {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let told = self.notifier.as_mut().map(|notifier| tell(notifier, now)).unwrap_or_default();
        self.ready.extend(told.into_iter().filter_map(Notification::into_record));
    }
}

/// Waits until `time`, without one for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
