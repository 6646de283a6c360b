//! One record as it lies in the log.

use bytes::Bytes;
use proto::v1::Record;

use crate::{frame::Boot, time};

/// A record's JSON, without the line end. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub(crate) bytes: Bytes,
    /// Where it stands, to go on from.
    pub position: Position,
    /// Boot that numbered it; unknown in files that Keywitness did not write.
    pub boot: Boot,
    /// Its number in that boot; 0 when unknown.
    pub seq: u64,
}

/// A place in a log, after some record. It holds when a segment is rewritten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Records of that segment up to and with this one.
    pub records: u64,
}

impl Line {
    /// The JSON.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The record.
    pub fn record(&self) -> Result<Record, serde_json::Error> {
        Record::from_json(&self.bytes)
    }

    /// As [`Line::record`], in the place and memory of a record that is not needed any more.
    pub fn read(&self, record: &mut Record) -> Result<(), serde_json::Error> {
        record.read_json(&self.bytes)
    }

    /// Nanoseconds since the epoch, without parsing the rest; 0 when the line has no time.
    pub fn time(&self) -> u64 {
        time::of_line(&self.bytes)
            .or_else(|| self.record().ok().map(|record| record.time))
            .unwrap_or_default()
    }
}
