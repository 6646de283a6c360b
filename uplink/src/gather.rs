//! Lines of the log to batches.

use std::{io, path::Path};

use flow_log::{Boot, Follow, Line, Position, ReadError, Reader};
use proto::v1::Batch;

/// Lines of one batch, uncompressed, bytes; a collector takes four times as much.
const MAX_BYTES: usize = 1024 * 1024;
/// Records of one batch; a collector takes twice as many.
const MAX_RECORDS: usize = 2048;
/// A single record that is longer is left out: no sensor writes one.
const MAX_LINE: usize = 2 * 1024 * 1024;
/// Compression of a batch: the same as of the log's own commits.
const LEVEL: i32 = 1;

/// What is known of a batch on its way.
pub(crate) struct Gathered {
    pub(crate) boot_id: String,
    /// Number of its last record.
    pub(crate) seq: u64,
    /// Records in it.
    pub(crate) records: u64,
    /// Where the log goes on after it.
    pub(crate) position: Position,
    /// With it, everything is sent that was in the log at this time, nanoseconds since the epoch.
    pub(crate) complete: u64,
}

/// Follows the log.
pub(crate) struct Gather {
    follow: Follow,
    /// Begins the next batch: it did not fit into the last.
    next: Option<Line>,
}

impl Gather {
    /// From `position` on in the log in `folder`.
    pub(crate) fn open(folder: &Path, position: Position) -> Result<Self, ReadError> {
        Ok(Self { follow: Reader::open(folder)?.follow_from(position), next: None })
    }

    /// Time of the oldest record after `position`, nanoseconds since the epoch.
    pub(crate) fn waiting_since(folder: &Path, position: Position) -> Option<u64> {
        Some(Self::open(folder, position).ok()?.line().ok()??.record().ok()?.time)
    }

    /// What there is now, oldest first and of one boot; nothing when all of the log was gathered. `sent` is the
    /// time, nanoseconds since the epoch.
    pub(crate) fn next(&mut self, sent: u64) -> Result<Option<(Batch, Gathered)>, ReadError> {
        let Some(first) = self.line()? else { return Ok(None) };
        let (boot, mut raw, mut records) = (first.boot, first.bytes().to_vec(), 1);
        let mut last = first;
        while records < MAX_RECORDS && raw.len() < MAX_BYTES {
            let Some(line) = self.line()? else { break };
            if line.boot != boot || line.seq <= last.seq || raw.len() + line.bytes().len() > MAX_BYTES {
                self.next = Some(line);
                break;
            }
            raw.push(b'\n');
            raw.extend_from_slice(line.bytes());
            last = line;
            records += 1;
        }
        let batch =
            pack(boot, &raw, sent).map_err(|source| ReadError::Io { path: "batch".into(), source })?;
        let gathered = Gathered {
            boot_id: batch.boot_id.clone(),
            seq: last.seq,
            records: records as u64,
            position: last.position,
            // A record is written at its time or later.
            complete: last.record().map_or(0, |record| record.time),
        };
        Ok(Some((batch, gathered)))
    }

    fn line(&mut self) -> Result<Option<Line>, ReadError> {
        if let Some(line) = self.next.take() {
            return Ok(Some(line));
        }
        loop {
            match self.follow.poll() {
                None => return Ok(None),
                Some(Ok(line)) if line.bytes().len() <= MAX_LINE => return Ok(Some(line)),
                Some(Ok(line)) => tracing::warn!(seq = line.seq, "a record is too long to be sent"),
                // The rest is good, and the collector sees which numbers are missing.
                Some(Err(error @ ReadError::Damaged(_))) => tracing::warn!("{error}"),
                Some(Err(error)) => return Err(error),
            }
        }
    }
}

fn pack(boot: Boot, raw: &[u8], sent: u64) -> io::Result<Batch> {
    Ok(Batch { boot_id: boot.to_string(), lines: zstd::bulk::compress(raw, LEVEL)?, sent })
}

#[cfg(test)]
mod tests {
    use flow_log::{
        storage::Disk,
        writer::{Inline, Now, Options, Writer},
    };

    use super::*;

    const BOOTS: [&str; 2] = ["70f33f75-5292-40cb-8ee1-433011488d54", "70f33f75-5292-40cb-8ee1-433011488d55"];

    fn write(folder: &Path, boot: &str, lines: &[Vec<u8>]) {
        let disk = Disk::open(folder).unwrap();
        let packer = Box::new(Inline::default());
        let (mut writer, recovery) =
            Writer::open(disk, packer, Options::default(), Boot::parse(boot), Now::default()).unwrap();
        for (seq, line) in (recovery.next_seq..).zip(lines) {
            writer.push(&[line, &b"\n"[..]].concat(), seq, 1, Now::default());
        }
        assert!(writer.close(Now::default()));
    }

    #[test]
    fn batches_are_of_one_boot_bounded_and_go_on_from_any_position() {
        let folder = tempfile::tempdir().unwrap();
        let lines = |count: usize, bytes: usize| vec![vec![b'x'; bytes]; count];
        write(folder.path(), BOOTS[0], &lines(5000, 10));
        write(folder.path(), BOOTS[1], &lines(6, 400_000));
        let mut gather = Gather::open(folder.path(), Position::default()).unwrap();
        let mut got = Vec::new();
        while let Some((batch, known)) = gather.next(7).unwrap() {
            let raw = zstd::bulk::decompress(&batch.lines, MAX_BYTES).unwrap();
            assert_eq!(raw.split(|byte| *byte == b'\n').count() as u64, known.records);
            assert_eq!(batch.sent, 7);
            got.push((batch.boot_id, known.seq, known.records, known.position));
        }
        let shape: Vec<_> =
            got.iter().map(|(boot, seq, records, _)| (boot.as_str(), *seq, *records)).collect();
        let [one, two] = BOOTS;
        let expected =
            [(one, 2048, 2048), (one, 4096, 2048), (one, 5000, 904), (two, 2, 2), (two, 4, 2), (two, 6, 2)];
        assert_eq!(shape, expected);
        let mut again = Gather::open(folder.path(), got[3].3).unwrap();
        assert_eq!(again.next(0).unwrap().unwrap().1.seq, 4);
    }
}
