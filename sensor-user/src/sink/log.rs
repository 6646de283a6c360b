//! The durable log, fed before every other sink, by a thread of its own so that a slow disk delays no event.
//!
//! Drop policy: when the thread is [`MAX_QUEUED`] records or [`MAX_QUEUED_BYTES`] behind, the newest records
//! are dropped, as the log's writer does while the disk fails. Each gap is told when it begins and when it ends.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use flow_log::{
    Boot,
    storage::{Disk, OpenError},
    writer::{self, MAX_QUEUED, Now, Options, Recovery, Writer},
};
use proto::v1::{Gap, Record};

use super::Sink;

/// Most bytes of records on their way to the log's thread.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Most gaps that wait to be told.
const MAX_GAPS: usize = 1024;
/// Longest pause of the thread: rewriting a segment goes on in steps.
const PAUSE: Duration = Duration::from_millis(100);

/// A record on its way.
struct Queued {
    line: Vec<u8>,
    seq: u64,
    time: u64,
}

/// What the thread and the sink share.
#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    gaps: Mutex<Vec<Gap>>,
}

/// A sink before another.
pub struct Log {
    queue: Option<SyncSender<Queued>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Records are being dropped.
    dropping: bool,
    boot_id: String,
    next: Box<dyn Sink + Send>,
}

/// Recovers the log in `folder` and puts it before `next`. `boot_id` is the kernel's.
pub fn open(
    folder: &Path,
    options: Options,
    boot_id: &str,
    next: Box<dyn Sink + Send>,
) -> Result<(Log, Recovery), OpenError> {
    let failed = |source| OpenError::Io { path: folder.to_owned(), source };
    let disk = Disk::open(folder)?;
    let clock = Clock::start();
    let packer = Box::new(writer::Thread::start().map_err(failed)?);
    let (writer, recovery) =
        Writer::open(disk, packer, options, Boot::parse(boot_id), clock.now()).map_err(failed)?;
    let (queue, from) = sync_channel(MAX_QUEUED);
    let shared = Arc::new(Shared::default());
    shared.tell(recovery.gaps.clone());
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || write(writer, &from, &shared, clock)
    });
    let log = Log {
        queue: Some(queue),
        shared,
        thread: Some(thread.map_err(failed)?),
        dropping: false,
        boot_id: boot_id.to_owned(),
        next,
    };
    Ok((log, recovery))
}

impl Sink for Log {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let seq = record.sensor.as_ref().map_or(0, |sensor| sensor.seq);
        let written = self.next.write_line(record, &line);
        // Kept even if nobody reads the output.
        self.queue(Queued { line, seq, time: record.time });
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.next.flush()
    }

    fn gaps(&mut self) -> Vec<Gap> {
        let mut gaps = self.shared.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *gaps)
    }
}

impl Log {
    fn queue(&mut self, queued: Queued) {
        let (seq, size) = (queued.seq, queued.line.len());
        let held = self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        let sent = held.saturating_add(size) <= MAX_QUEUED_BYTES
            && self.queue.as_ref().is_some_and(|queue| queue.try_send(queued).is_ok());
        if sent {
            self.dropping = false;
            return;
        }
        self.shared.bytes.fetch_sub(size, Ordering::Relaxed);
        if !std::mem::replace(&mut self.dropping, true) {
            tracing::warn!(seq, "the disk of the flow log is too slow: records are dropped");
            let boot_id = self.boot_id.clone();
            self.shared.tell_one(Gap { boot_id, from_seq: seq, to_seq: 0, cause: "queue_full".into() });
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the flow log's thread failed; its last records may be lost");
        }
    }
}

impl Shared {
    fn tell(&self, gaps: Vec<writer::Gap>) {
        for gap in gaps {
            match gap.to {
                None => tracing::warn!(cause = gap.cause, "the flow log takes no records"),
                Some(to) => {
                    tracing::warn!(
                        from = gap.from,
                        to,
                        cause = gap.cause,
                        "records are missing in the flow log"
                    );
                }
            }
            self.tell_one(Gap {
                boot_id: gap.boot.to_string(),
                from_seq: gap.from,
                to_seq: gap.to.unwrap_or_default(),
                cause: gap.cause.to_owned(),
            });
        }
    }

    fn tell_one(&self, gap: Gap) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if gaps.len() < MAX_GAPS {
            gaps.push(gap);
        }
    }
}

/// Both clocks.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now(&self) -> Now {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let calendar = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { steady_ns: ns(self.0.elapsed()), calendar_ns: ns(calendar) }
    }
}

/// The thread: takes records until the sink is dropped.
fn write(mut writer: Writer<Disk>, from: &Receiver<Queued>, shared: &Shared, clock: Clock) {
    let mut failing = None;
    loop {
        let now = clock.now();
        let due = writer.due_ns().map(|due| Duration::from_nanos(due.saturating_sub(now.steady_ns)));
        match from.recv_timeout(due.map_or(PAUSE, |due| due.min(PAUSE))) {
            Ok(queued) => {
                shared.bytes.fetch_sub(queued.line.len(), Ordering::Relaxed);
                writer.push(&queued.line, queued.seq, queued.time, clock.now());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        writer.tick(clock.now());
        shared.tell(writer.gaps());
        if writer.failure() != failing {
            failing = writer.failure();
            match failing {
                Some(cause) => tracing::warn!(cause, "the flow log cannot be written; trying again"),
                None => tracing::info!("the flow log is written again"),
            }
        }
    }
    if !writer.close(clock.now()) {
        tracing::error!("the last records are not in the flow log");
    }
}

#[cfg(test)]
mod tests {
    use flow_log::{Range, Reader};
    use proto::v1::{Sensor, Status, record::Body};

    use super::*;

    const BOOT: &str = "70f33f75-5292-40cb-8ee1-433011488d54";

    struct Nothing;

    impl Sink for Nothing {
        fn write(&mut self, _: &Record) -> io::Result<()> {
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(seq: u64) -> Record {
        let mut record = Record::new(seq, Body::Status(Status { produced: seq, ..Default::default() }));
        record.sensor = Some(Sensor { host: "h".into(), boot_id: BOOT.into(), seq });
        record
    }

    #[test]
    fn records_are_in_the_log_after_a_stop_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        for start in [1, 101, 201] {
            let (mut log, recovery) =
                open(folder.path(), Options::default(), BOOT, Box::new(Nothing)).unwrap();
            assert_eq!((recovery.next_seq, recovery.gaps), (start, vec![]));
            (start..start + 100).for_each(|seq| log.write(&record(seq)).unwrap());
            drop(log);
        }
        let lines = Reader::open(folder.path()).unwrap().lines(Range::default()).unwrap();
        let read: Vec<Record> = lines.map(|line| line.unwrap().record().unwrap()).collect();
        assert_eq!(read, (1..=300).map(record).collect::<Vec<_>>());
    }
}
