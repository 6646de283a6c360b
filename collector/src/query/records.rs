//! Records as lines, oldest first, straight from the log.

use std::{collections::VecDeque, io, path::PathBuf, time::Duration};

use attribution::filter::{Filter, MAX_LAST};
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

/// Bytes that are sent at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a reader.
const WAITING: usize = 4;
/// A reader that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of `last` together, bytes.
const MAX_LAST_BYTES: usize = 64 * 1024 * 1024;
/// Parameters of one request.
const MAX_PARAMETERS: usize = 300;

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wanted {
    filter: Filter,
    /// Only so many, the newest.
    last: Option<usize>,
}

impl Wanted {
    /// From the query part of a URL.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let pairs: Vec<(String, String)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(MAX_PARAMETERS)
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decoded(name)?, decoded(value)?))
            })
            .collect::<Option<_>>()
            .ok_or("the query is not percent-encoded UTF-8")?;
        let mut wanted = Self::default();
        let mut rest = Vec::new();
        for (name, value) in &pairs {
            if name == "last" {
                let last = value.parse().ok().filter(|last| (1..=MAX_LAST).contains(last));
                wanted.last = Some(last.ok_or(format!("last: a number from 1 to {MAX_LAST}"))?);
            } else {
                rest.push((name.as_str(), value.as_str()));
            }
        }
        wanted.filter = Filter::of_query(rest)?;
        Ok(wanted)
    }
}

/// Percent-decoding of a query (WHATWG URL, application/x-www-form-urlencoded).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// The lines of the log in `folder` that are wanted. `id` is the collector's; `turn` is given back at the end.
pub(super) fn stream(folder: PathBuf, id: String, wanted: Wanted, turn: OwnedSemaphorePermit) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut out = Out { sender, handle, chunk: BytesMut::new() };
        if let Err(error) = send(folder, &id, &wanted, &mut out) {
            tracing::warn!(%error, "an answer was cut off");
            // The reader sees that the body does not end well.
            let _ = out.give(Err(io::Error::other("the log cannot be read")));
        }
        drop(turn);
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// Where lines go.
struct Out {
    sender: mpsc::Sender<io::Result<Bytes>>,
    handle: Handle,
    chunk: BytesMut,
}

impl Out {
    /// False when nobody reads any more.
    fn line(&mut self, line: &[u8]) -> bool {
        self.chunk.extend_from_slice(line);
        self.chunk.extend_from_slice(b"\n");
        self.chunk.len() < CHUNK || self.flush()
    }

    fn flush(&mut self) -> bool {
        let chunk = self.chunk.split().freeze();
        chunk.is_empty() || self.give(Ok(chunk))
    }

    fn give(&self, item: io::Result<Bytes>) -> bool {
        let sent = self.handle.block_on(timeout(PATIENCE, self.sender.send(item)));
        matches!(sent, Ok(Ok(())))
    }
}

fn send(folder: PathBuf, id: &str, wanted: &Wanted, out: &mut Out) -> Result<(), ReadError> {
    if !folder.exists() {
        // A tenant whose sensors have sent nothing yet.
        return Ok(());
    }
    let some = |time: u64| (time != 0).then_some(time);
    let range = Range { since: some(wanted.filter.since), until: some(wanted.filter.until) };
    let prefilter = wanted.filter.prefilter();
    let mut kept: VecDeque<Line> = VecDeque::new();
    let mut kept_bytes = 0;
    for line in Reader::open(&folder)?.lines(range)? {
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
            if !out.line(line.bytes()) {
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
    let all = kept.iter().all(|line| out.line(line.bytes()));
    if all {
        out.flush();
    }
    Ok(())
}

/// A sensor's own findings are left out: the collector's detector saw the same records and those of all other
/// hosts, so its finding of the same id says more.
fn is_shown(record: &Record, id: &str) -> bool {
    record.finding().is_none() || record.place().is_some_and(|(_, boot, _)| boot == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_in_it_is_named() {
        let wanted = Wanted::parse("kind=finding&not.model=gpt%2D5+mini&last=7").unwrap();
        assert_eq!(wanted.last, Some(7));
        assert_eq!(wanted.filter.query().last().unwrap().1, "gpt-5 mini");
        assert_eq!(Wanted::parse("").unwrap(), Wanted::default());
        for wrong in ["last=0", "last=x", "kind=%zz", "kind=%ff", "nothing=1"] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }
}
