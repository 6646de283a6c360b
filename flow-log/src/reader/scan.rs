//! The records of one segment, and what is missing between them.

use std::path::PathBuf;

use bytes::Bytes;

use super::{Damage, Missing, Range, ReadError};
use crate::{
    frame::{Boot, Header, Kind},
    line::{Line, Position},
    walk::{Input, Step, Walk},
};

/// What was read so far, over all segments: from it follows what is missing.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Segment and number of records in it after the last good frame; nothing before the first.
    at: Option<(u64, u64)>,
    /// Boot and last sequence number.
    seq: Option<(Boot, u64)>,
}

impl Gathered {
    /// A whole segment was left out on purpose.
    pub(super) fn passed(&mut self, seal: &Header) {
        self.at = Some((seal.segment, seal.before));
        self.seq = Some((seal.boot, seal.last));
    }

    /// Reading goes on somewhere else on purpose.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What lies between the last frame and this one; `true` when frames are absent.
    fn before(&self, header: &Header) -> (bool, Option<Missing>) {
        let absent = match self.at {
            Some((segment, records)) if segment == header.segment => records != header.before,
            Some((segment, _)) => header.before > 0 || header.segment != segment + 1,
            None => header.before > 0,
        };
        let missing = self.seq.and_then(|(boot, last)| {
            let (from, to) = (last + 1, header.first.saturating_sub(1));
            (boot == header.boot && from <= to).then_some(Missing { boot, from, to })
        });
        (absent, missing)
    }

    fn take(&mut self, header: &Header) {
        self.at = Some((header.segment, header.before + u64::from(header.count)));
        if header.kind == Kind::Batch {
            self.seq = Some((header.boot, header.last));
        }
    }
}

/// A frame's records that are still to be handed out.
#[derive(Debug)]
struct Batch {
    raw: Bytes,
    /// Where the next line begins.
    start: usize,
    position: Position,
    boot: Boot,
    seq: u64,
    /// Whether each line's time has to be looked at.
    check: bool,
}

/// The walk through one segment.
pub(super) struct Scan<I> {
    walk: Walk<I>,
    path: PathBuf,
    number: Option<u64>,
    range: Range,
    /// Frames after this offset are not needed.
    end: u64,
    batch: Option<Batch>,
    /// Damage whose extent in records is not known yet.
    bad: Option<Damage>,
    queued: Option<Header>,
    queued_data: Option<(u64, Bytes)>,
    /// Whether more may be on its way, so that an incomplete end is no damage.
    pub(super) live: bool,
    /// Whether the frames begin with the first of the segment or follow one that was read.
    whole: bool,
    /// Records before the wanted ones.
    pub(super) from_records: u64,
    /// Whether the file can no longer be read.
    failed: bool,
}

impl<I: Input> Scan<I> {
    pub(super) fn new(walk: Walk<I>, path: PathBuf, number: Option<u64>, range: Range, end: u64) -> Self {
        let whole = walk.offset() == 0;
        Self {
            walk,
            path,
            number,
            range,
            end,
            batch: None,
            bad: None,
            queued: None,
            queued_data: None,
            live: false,
            whole,
            from_records: 0,
            failed: false,
        }
    }

    /// The next record or damage; nothing at the end, where a live segment can be asked again.
    pub(super) fn next(&mut self, gathered: &mut Gathered) -> Option<Result<Line, ReadError>> {
        loop {
            if let Some(line) = self.next_line() {
                return Some(Ok(line));
            }
            if self.failed {
                return None;
            }
            if let Some((header, offset, data)) = self.take_queued() {
                self.open(&header, offset, &data, gathered);
                continue;
            }
            let (range, from_records) = (self.range, self.from_records);
            let within = self.walk.offset() <= self.end;
            let step = self.walk.next(|header| {
                let wanted = within && header.before + u64::from(header.count) > from_records;
                header.kind == Kind::Batch && wanted && range.overlaps(header.from_time, header.to_time)
            });
            match step {
                Err(source) => {
                    // The same error would come for ever.
                    self.failed = true;
                    return Some(Err(ReadError::Io { path: self.path.clone(), source }));
                }
                Ok(Step::End) => return self.bad.take().map(damaged),
                Ok(Step::Damaged { offset, tail: true, .. }) if self.live => {
                    // Not all of it is written yet: look again from there.
                    if let Err(source) = self.walk.go(offset) {
                        return Some(Err(ReadError::Io { path: self.path.clone(), source }));
                    }
                    return None;
                }
                Ok(Step::Damaged { offset, bytes, what, .. }) => {
                    let bad = Damage { path: self.path.clone(), offset, bytes, what, missing: None };
                    if let Some(earlier) = self.bad.replace(bad) {
                        return Some(damaged(earlier));
                    }
                }
                Ok(Step::Frame { offset, header, data }) => {
                    if offset > self.end {
                        return self.bad.take().map(damaged);
                    }
                    let damage = self.damage_before(&header, offset, gathered);
                    gathered.take(&header);
                    if let Some(data) = data.filter(|_| header.kind == Kind::Batch) {
                        self.queued = Some(header);
                        self.queued_data = Some((offset, data));
                    }
                    if let Some(damage) = damage {
                        return Some(damaged(damage));
                    }
                }
            }
        }
    }

    /// What is missing before a good frame: known damage, or frames that are absent.
    fn damage_before(&mut self, header: &Header, offset: u64, gathered: &Gathered) -> Option<Damage> {
        let first = std::mem::replace(&mut self.whole, true);
        let (absent, missing) = gathered.before(header);
        match self.bad.take() {
            Some(bad) => Some(Damage { missing, ..bad }),
            None if absent && first => {
                let what = "frames or segments are absent before this frame";
                Some(Damage { path: self.path.clone(), offset, bytes: 0, what, missing })
            }
            None => None,
        }
    }

    fn take_queued(&mut self) -> Option<(Header, u64, Bytes)> {
        let header = self.queued.take()?;
        let (offset, data) = self.queued_data.take()?;
        Some((header, offset, data))
    }

    fn open(&mut self, header: &Header, offset: u64, data: &[u8], gathered: &mut Gathered) {
        match header.unpack(data) {
            Ok(raw) => {
                self.batch = Some(Batch {
                    raw: raw.into(),
                    start: 0,
                    position: Position {
                        segment: self.number.unwrap_or(header.segment),
                        records: header.before,
                    },
                    boot: header.boot,
                    seq: header.first,
                    check: !self.range.covers(header.from_time, header.to_time),
                });
            }
            Err(what) => {
                gathered.forget();
                let missing = Missing { boot: header.boot, from: header.first, to: header.last };
                self.bad = Some(Damage {
                    path: self.path.clone(),
                    offset,
                    bytes: header.frame_bytes(),
                    what,
                    missing: Some(missing),
                });
            }
        }
    }

    fn next_line(&mut self) -> Option<Line> {
        let batch = self.batch.as_mut()?;
        loop {
            let rest = batch.raw.get(batch.start..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', rest) else {
                self.batch = None;
                return None;
            };
            let bytes = batch.raw.slice(batch.start..batch.start + length);
            batch.start += length + 1;
            batch.position.records += 1;
            let line = Line { bytes, position: batch.position, boot: batch.boot, seq: batch.seq };
            batch.seq += 1;
            let wanted = line.position.records > self.from_records;
            if wanted && (!batch.check || self.range.holds(line.time())) {
                return Some(line);
            }
        }
    }
}

fn damaged(damage: Damage) -> Result<Line, ReadError> {
    Err(ReadError::Damaged(Box::new(damage)))
}
