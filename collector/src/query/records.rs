//! Records that are wanted, oldest first, straight from the log.

use std::{collections::VecDeque, io, path::PathBuf, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use flow_log::{Line, Range, ReadError, Reader};
use proto::v1::Record;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::wanted::Wanted;

/// Bytes that are sent at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a reader.
const WAITING_CHUNKS: usize = 4;
/// Records that wait for a reader.
const WAITING_RECORDS: usize = 64;
/// A reader that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of `last` together, bytes.
const MAX_LAST_BYTES: usize = 64 * 1024 * 1024;
const UNREADABLE: &str = "the log cannot be read";

/// A question that may be answered.
pub(super) struct Asked {
    /// The log.
    pub(super) folder: PathBuf,
    /// The collector's id.
    pub(super) id: String,
    /// What is wanted of it.
    pub(super) wanted: Wanted,
    /// Given back at the end.
    pub(super) turn: OwnedSemaphorePermit,
}

/// Where an answer goes; false when nobody reads any more.
trait Out: Send + 'static {
    fn take(&mut self, line: &Line, record: Record) -> bool;
    fn flush(&mut self) -> bool;
    /// The reader sees that the answer does not end well.
    fn fail(&mut self);
}

/// The way to a reader that may be slow.
struct Pipe<T> {
    sender: mpsc::Sender<T>,
    handle: Handle,
}

impl<T> Pipe<T> {
    fn new(waiting: usize) -> (Self, ReceiverStream<T>) {
        let (sender, receiver) = mpsc::channel(waiting);
        (Self { sender, handle: Handle::current() }, ReceiverStream::new(receiver))
    }

    fn give(&self, item: T) -> bool {
        let sent = self.handle.block_on(timeout(PATIENCE, self.sender.send(item)));
        matches!(sent, Ok(Ok(())))
    }
}

/// Lines as they stand in the log.
struct Lines {
    pipe: Pipe<io::Result<Bytes>>,
    chunk: BytesMut,
}

impl Out for Lines {
    fn take(&mut self, line: &Line, _: Record) -> bool {
        self.chunk.extend_from_slice(line.bytes());
        self.chunk.extend_from_slice(b"\n");
        self.chunk.len() < CHUNK || self.flush()
    }

    fn flush(&mut self) -> bool {
        let chunk = self.chunk.split().freeze();
        chunk.is_empty() || self.pipe.give(Ok(chunk))
    }

    fn fail(&mut self) {
        self.pipe.give(Err(io::Error::other(UNREADABLE)));
    }
}

impl Out for Pipe<Result<Record, Status>> {
    fn take(&mut self, _: &Line, record: Record) -> bool {
        self.give(Ok(record))
    }

    fn flush(&mut self) -> bool {
        true
    }

    fn fail(&mut self) {
        self.give(Err(Status::data_loss(UNREADABLE)));
    }
}

/// The answer as JSON lines.
pub(super) fn lines(asked: Asked) -> Body {
    let (pipe, stream) = Pipe::new(WAITING_CHUNKS);
    start(asked, Lines { pipe, chunk: BytesMut::new() });
    Body::from_stream(stream)
}

/// The answer as messages.
pub(super) fn messages(asked: Asked) -> ReceiverStream<Result<Record, Status>> {
    let (pipe, stream) = Pipe::new(WAITING_RECORDS);
    start(asked, pipe);
    stream
}

fn start(asked: Asked, mut out: impl Out) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = send(&asked, &mut out) {
            tracing::warn!(%error, "an answer was cut off");
            out.fail();
        }
        drop(asked.turn);
    });
}

fn send(Asked { folder, id, wanted, .. }: &Asked, out: &mut impl Out) -> Result<(), ReadError> {
    if !folder.exists() {
        // A tenant whose sensors have sent nothing yet.
        return Ok(());
    }
    let some = |time: u64| (time != 0).then_some(time);
    let range = Range { since: some(wanted.filter.since), until: some(wanted.filter.until) };
    let prefilter = wanted.filter.prefilter();
    let mut kept: VecDeque<Line> = VecDeque::new();
    let mut kept_bytes = 0;
    for line in Reader::open(folder)?.lines(range)? {
        let line = match line {
            Ok(line) => line,
            // Damage was told when the log was opened, and the rest is good.
            Err(ReadError::Damaged(_)) => continue,
            Err(error) => return Err(error),
        };
        if !prefilter.may_match(line.bytes()) {
            continue;
        }
        let Ok(record) = line.record() else { continue };
        if !is_shown(&record, id) || !wanted.filter.matches(&record) {
            continue;
        }
        let Some(last) = wanted.last else {
            if !out.take(&line, record) {
                return Ok(());
            }
            continue;
        };
        kept_bytes += line.bytes().len();
        kept.push_back(line);
        while kept.len() > last || kept_bytes > MAX_LAST_BYTES {
            kept_bytes -= kept.pop_front().map_or(0, |line| line.bytes().len());
        }
    }
    let mut kept = kept.iter().filter_map(|line| Some((line, line.record().ok()?)));
    if kept.all(|(line, record)| out.take(line, record)) {
        out.flush();
    }
    Ok(())
}

/// A sensor's own findings are left out: the collector's detector saw the same records and those of all other
/// hosts, so its finding of the same id says more.
fn is_shown(record: &Record, id: &str) -> bool {
    record.finding().is_none() || record.place().is_some_and(|(_, boot, _)| boot == id)
}
