//! Records that wait to be written.

use std::collections::VecDeque;

use super::{BATCH_BYTES, MAX_WAITING_BYTES, MAX_WAITING_RECORDS, RESERVED};
use crate::frame::{Boot, Header};

/// Consecutive records of one boot: what becomes a frame.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) raw: Vec<u8>,
    boot: Boot,
    first: u64,
    last: u64,
    count: u32,
    from_time: u64,
    to_time: u64,
}

/// Batches in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    batches: VecDeque<Batch>,
    bytes: usize,
    records: usize,
    since_ns: Option<u64>,
}

impl Batch {
    pub(super) fn describe(&self, header: &mut Header) {
        header.boot = self.boot;
        (header.first, header.last) = (self.first, self.last);
        header.reserved = self.last.saturating_add(RESERVED);
        (header.from_time, header.to_time) = (self.from_time, self.to_time);
        header.count = self.count;
        header.raw_bytes = u32::try_from(self.raw.len()).unwrap_or(u32::MAX);
    }

    /// A batch of one frame's records.
    pub(super) fn of(header: &Header, raw: Vec<u8>) -> Self {
        Self {
            raw,
            boot: header.boot,
            first: header.first,
            last: header.last,
            count: header.count,
            from_time: header.from_time,
            to_time: header.to_time,
        }
    }

    /// Whether `next` continues it without a jump, within `limit` bytes.
    pub(super) fn continues(&self, boot: Boot, first: u64, bytes: usize, limit: usize) -> bool {
        self.boot == boot && self.last.checked_add(1) == Some(first) && self.raw.len() + bytes <= limit
    }

    pub(super) fn extend(&mut self, next: &Self) {
        self.raw.extend_from_slice(&next.raw);
        self.last = next.last;
        self.count += next.count;
        self.from_time = self.from_time.min(next.from_time);
        self.to_time = self.to_time.max(next.to_time);
    }

    pub(super) fn boot(&self) -> Boot {
        self.boot
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }
}

impl Waiting {
    pub(super) fn push(&mut self, boot: Boot, line: &[u8], seq: u64, time_ns: u64, now_ns: u64) {
        self.bytes += line.len();
        self.records += 1;
        self.since_ns.get_or_insert(now_ns);
        if let Some(batch) = self.batches.back_mut()
            && batch.continues(boot, seq, line.len(), BATCH_BYTES)
        {
            batch.raw.extend_from_slice(line);
            batch.last = seq;
            batch.count += 1;
            batch.from_time = batch.from_time.min(time_ns);
            batch.to_time = batch.to_time.max(time_ns);
            return;
        }
        self.batches.push_back(Batch {
            raw: line.to_vec(),
            boot,
            first: seq,
            last: seq,
            count: 1,
            from_time: time_ns,
            to_time: time_ns,
        });
    }

    /// Whether another `bytes` are too much.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        !self.batches.is_empty()
            && (self.bytes.saturating_add(bytes) > MAX_WAITING_BYTES || self.records >= MAX_WAITING_RECORDS)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Since when the oldest waits.
    pub(super) fn since_ns(&self) -> Option<u64> {
        self.since_ns
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter()
    }

    pub(super) fn last(&self) -> Option<(Boot, u64)> {
        self.batches.back().map(|batch| (batch.boot, batch.last))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
