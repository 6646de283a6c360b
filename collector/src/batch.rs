//! A batch of a sensor, checked against its certificate. Pure.

use std::cell::RefCell;

use bytes::Bytes;
use proto::v1::{Batch, Record};
use thiserror::Error;
use zstd::bulk::Decompressor;

use crate::peer::Peer;

/// Records in one batch.
pub const MAX_RECORDS: usize = 4096;
/// Lines of one batch, uncompressed, bytes.
pub const MAX_LINES_BYTES: usize = 4 * 1024 * 1024;
/// A boot id is a UUID (random(4)); anything longer is refused.
const MAX_BOOT_ID: usize = 64;

/// A batch that can be believed: every record is of the certificate's host and of one boot, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Checked {
    /// The sensor's boot.
    pub boot_id: String,
    /// Its records.
    pub records: Vec<Arrived>,
}

/// A record as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrived {
    /// Its line, without the line end.
    pub line: Bytes,
    /// What the line says.
    pub record: Record,
    /// Its number.
    pub seq: u64,
}

/// Why a batch is not taken, as a sentence for the sensor's log.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum Refused {
    /// Records of another host than the certificate's.
    #[error(
        "the batch has records of host `{claimed}`, and the certificate is for `{host}`: set identity.host, or use the certificate of that host"
    )]
    Forged {
        /// What the records say.
        claimed: String,
        /// What the certificate says.
        host: String,
    },
    /// Not what a sensor sends.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads a batch of `peer`.
pub fn check(peer: &Peer, batch: &Batch) -> Result<Checked, Refused> {
    if batch.boot_id.is_empty() || batch.boot_id.len() > MAX_BOOT_ID {
        return Err(Refused::Malformed("the batch names no boot"));
    }
    let lines = unpack(&batch.lines).ok_or(Refused::Malformed("the lines are no zstd frame, or too long"))?;
    let mut checked = Checked { boot_id: batch.boot_id.clone(), records: Vec::new() };
    let (mut before, mut start) = (0, 0);
    while start < lines.len() {
        let rest = lines.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = lines.slice(start..start + length);
        start += length + 1;
        let record = Record::from_json(&line).map_err(|_| Refused::Malformed("a line is no record"))?;
        let (host, boot, seq) = record.place().ok_or(Refused::Malformed("a record names no sensor"))?;
        if host != peer.host {
            return Err(Refused::Forged { claimed: shortened(host), host: peer.host.clone() });
        }
        if boot != batch.boot_id {
            return Err(Refused::Malformed("a record is of another boot than its batch"));
        }
        if seq <= before {
            return Err(Refused::Malformed("the records are not in the order of their numbers"));
        }
        if let Some(status) = record.status()
            && !status.reports.is_empty()
        {
            return Err(Refused::Malformed("a sensor reports on sensors, which only a collector may"));
        }
        if checked.records.len() >= MAX_RECORDS {
            return Err(Refused::Malformed("the batch has too many records"));
        }
        before = seq;
        checked.records.push(Arrived { line, seq, record });
    }
    Ok(checked)
}

thread_local! {
    /// One for each thread: it is larger than most batches.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The lines of a batch; nothing when they are more than [`MAX_LINES_BYTES`] or no zstd frame.
fn unpack(packed: &[u8]) -> Option<Bytes> {
    // Room for what the frame says that it holds, and no more than is allowed: it may lie, and fails then.
    let said = zstd::zstd_safe::get_frame_content_size(packed).ok()?;
    let room = said.map_or(MAX_LINES_BYTES, |said| usize::try_from(said).unwrap_or(usize::MAX));
    let room = room.min(MAX_LINES_BYTES);
    UNPACKER.with_borrow_mut(|unpacker| {
        if unpacker.is_none() {
            *unpacker = Decompressor::new().ok();
        }
        unpacker.as_mut()?.decompress(packed, room).ok().map(Bytes::from)
    })
}

/// As much of a foreign name as a message needs.
fn shortened(name: &str) -> String {
    name.chars().filter(|one| !one.is_control()).take(64).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proto::v1::{Sensor, Status, record::Body};

    use super::*;

    /// The line of a record.
    pub(crate) fn line(host: &str, boot: &str, seq: u64) -> Vec<u8> {
        let mut record = Record::new(seq, Body::Status(Status { produced: seq, ..Status::default() }));
        record.sensor = Some(Sensor { host: host.into(), boot_id: boot.into(), seq });
        serde_json::to_vec(&record).unwrap()
    }

    pub(crate) fn packed(boot: &str, lines: &[Vec<u8>]) -> Batch {
        let lines = zstd::bulk::compress(&lines.join(&b'\n'), 1).unwrap();
        Batch { boot_id: boot.into(), lines, sent: 0 }
    }

    /// A batch of `host` with these numbers.
    pub(crate) fn batch(boot: &str, host: &str, numbers: impl IntoIterator<Item = u64>) -> Batch {
        let lines: Vec<_> = numbers.into_iter().map(|seq| line(host, boot, seq)).collect();
        packed(boot, &lines)
    }

    fn peer() -> Peer {
        Peer::new("acme", "a").unwrap()
    }

    #[test]
    fn lines_come_back_as_they_were() {
        let checked = check(&peer(), &batch("b", "a", [3, 4, 9])).unwrap();
        let seqs: Vec<u64> = checked.records.iter().map(|one| one.seq).collect();
        assert_eq!(seqs, [3, 4, 9]);
        assert!(checked.records.iter().all(|one| one.line == line("a", "b", one.seq)));
        assert!(check(&peer(), &batch("b", "a", [])).unwrap().records.is_empty());
    }

    #[test]
    fn a_claim_against_the_certificate_and_disorder_are_refused() {
        let forged = check(&peer(), &batch("b", "other", [1])).unwrap_err();
        assert_eq!(forged, Refused::Forged { claimed: "other".into(), host: "a".into() });
        let doubled =
            br#"{"sensor":{"host":"a","boot_id":"b","seq":1},"sensor":{"host":"c"},"kind":"status"}"#;
        for wrong in [
            batch("", "a", [1]),
            batch("b", "a", [2, 1]),
            batch("b", "a", [1, 1]),
            batch("b", "a", [0]),
            packed("c", &[line("a", "b", 1)]),
            packed("b", &[b"no".to_vec()]),
            packed("b", &[b"{}".to_vec()]),
            packed("b", &[doubled.to_vec()]),
            Batch { boot_id: "b".into(), lines: b"no".to_vec(), sent: 0 },
        ] {
            assert!(matches!(check(&peer(), &wrong), Err(Refused::Malformed(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let lines = zstd::bulk::compress(&vec![b'\n'; MAX_LINES_BYTES + 1], 1).unwrap();
        let bomb = Batch { boot_id: "b".into(), lines, sent: 0 };
        assert!(check(&peer(), &bomb).is_err());
    }
}
