//! What is found at the start: torn ends are cut off, damaged segments set aside and their good frames kept,
//! and every number that is missing and was not told before is told.

use std::{collections::VecDeque, io};

use proto::v1::record::Body;

use super::{Active, Gap, retain::Complete, rewrite::DRAFT};
use crate::{
    frame::{Boot, HEADER_BYTES, Hash, Header, Kind},
    segment::{self, Entry},
    storage::{Storage, Stored, read_exact_at},
    walk::{Step, Walk},
};

/// What is added to the name of a damaged segment; `zstdcat *.jsonl.zst` does not meet it.
const DAMAGED: &str = ".damaged";
/// Damaged segments that are kept.
const MAX_DAMAGED: usize = 8;
/// Most bytes of one write: what waits, if nothing of it can be compressed, and headers.
const MAX_WRITE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes copied at once.
const COPY_BYTES: usize = 64 * 1024;

/// What recovery found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The number of the next record.
    pub next_seq: u64,
    /// Numbers that are missing and that no record in the log tells of.
    pub gaps: Vec<Gap>,
    /// Bytes of an unfinished write that were cut off.
    pub truncated: u64,
    /// Segments with damage: set aside under their name with `.damaged`, their good frames kept.
    pub quarantined: Vec<String>,
}

/// The state of the log on the storage.
pub(super) struct Found<F> {
    pub(super) active: Option<Active<F>>,
    pub(super) next_segment: u64,
    pub(super) chain: Hash,
    /// Last record.
    pub(super) last: Option<(Boot, u64)>,
    pub(super) complete: VecDeque<Complete>,
    /// Numbers that may be in use, when the log was not closed.
    reserved: Option<u64>,
    /// Last number in use, when it was closed.
    closed: Option<u64>,
    gaps: Vec<Gap>,
    truncated: u64,
    quarantined: Vec<String>,
}

/// One segment without a seal, looked through.
#[derive(Default)]
struct Checked {
    entries: Vec<Entry>,
    records: u64,
    /// End of the last good frame.
    length: u64,
    damaged: bool,
    torn: u64,
}

/// Finds out, and repairs what can be repaired. An error only when the storage cannot even be read.
pub(super) fn recover<S: Storage>(storage: &S) -> io::Result<Found<S::File>> {
    let mut found = Found {
        active: None,
        next_segment: 1,
        chain: Hash::default(),
        last: None,
        complete: VecDeque::new(),
        reserved: None,
        closed: None,
        gaps: Vec::new(),
        truncated: 0,
        quarantined: Vec::new(),
    };
    let names = storage.list()?;
    for name in names.iter().filter(|name| name.ends_with(DRAFT)) {
        // What is left is only in the way, and is removed at the next start.
        let _ = storage.remove(name);
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name.as_ref())).collect();
    numbers.sort_unstable();
    for number in &numbers {
        found.segment(storage, *number, numbers.last() == Some(number))?;
        found.next_segment = number + 1;
    }
    if !found.quarantined.is_empty() {
        forget_old_damaged(storage);
    }
    Ok(found)
}

impl<F> Found<F> {
    /// What the caller is told, and the numbers after a crash.
    pub(super) fn recovery(&self, boot: Boot) -> Recovery {
        let mut gaps = self.gaps.clone();
        let mut next_seq = 1;
        if let Some((last_boot, last)) = self.last {
            let used = match (self.closed, self.reserved) {
                (Some(closed), _) => closed,
                (None, Some(reserved)) => reserved,
                (None, None) => last,
            };
            if self.closed.is_none() && used > last {
                let from = last + 1;
                gaps.push(Gap { boot: last_boot, from, to: Some(used), cause: "unclean_stop" });
            }
            if last_boot == boot {
                next_seq = used.max(last) + 1;
            }
        }
        Recovery { next_seq, gaps, truncated: self.truncated, quarantined: self.quarantined.clone() }
    }

    fn segment<S: Storage<File = F>>(&mut self, storage: &S, number: u64, newest: bool) -> io::Result<()> {
        let name = segment::name(number);
        let mut file = storage.open(&name)?;
        let length = storage.length(&file)?;
        if let Some((seal, entries)) = seal_of(storage, &file, length)? {
            if newest {
                // What follows names it. If the disk refuses, that is a break in the chain, and no record is lost.
                let _ = write_again(storage, &file, length, seal.frame_bytes());
            }
            if let Some(first) = entries.first()
                && self.jump(first.boot, first.first)
            {
                self.told_behind(storage, &file)?;
            }
            self.after(&seal);
            self.complete.push_back(Complete { number, bytes: length, to_time: seal.to_time });
            return Ok(());
        }
        let before = (self.chain, self.last, self.reserved, self.closed, self.gaps.clone());
        let mut checked = self.check(storage, &file)?;
        if checked.damaged && set_aside(storage, &name, &file, length).is_ok() {
            self.quarantined.push(name.clone() + DAMAGED);
            file = storage.open(&name)?;
            (self.chain, self.last, self.reserved, self.closed, self.gaps) = before;
            checked = self.check(storage, &file)?;
        }
        let mut torn = false;
        if checked.torn > 0 && !checked.damaged {
            self.truncated += checked.torn;
            torn = storage.truncate(&file, checked.length).is_err();
        }
        if newest && !checked.damaged {
            let since_ns = checked.entries.first().map_or(0, |first| first.from_time);
            let reserved = self.closed.or(self.reserved).unwrap_or_default();
            self.active = Some(Active {
                number,
                file,
                length: checked.length,
                entries: checked.entries,
                records: checked.records,
                last: self.last.unwrap_or_default(),
                reserved,
                since_ns,
                torn,
                named: false,
                // Nothing is written behind what is not durable, so only the last write can be.
                unsure: if self.closed.is_some() { HEADER_BYTES as u64 } else { MAX_WRITE_BYTES },
            });
        } else {
            let to_time = checked.entries.iter().map(|entry| entry.to_time).max().unwrap_or_default();
            self.complete.push_back(Complete { number, bytes: length, to_time });
        }
        Ok(())
    }

    /// Looks through a segment without a seal, all of its data.
    fn check<S: Storage<File = F>>(&mut self, storage: &S, file: &F) -> io::Result<Checked> {
        let mut checked = Checked::default();
        let mut walk = Walk::new(Stored { storage, file, offset: 0 });
        loop {
            match walk.next(|_| true)? {
                Step::End => return Ok(checked),
                Step::Damaged { bytes, tail: true, .. } => checked.torn = bytes,
                Step::Damaged { .. } => checked.damaged = true,
                Step::Frame { offset, header, data } => {
                    checked.damaged |= checked.records != header.before && checked.length == offset;
                    checked.records = header.before + u64::from(header.count);
                    checked.length = offset + header.frame_bytes();
                    if header.kind == Kind::Batch {
                        checked.entries.push(Entry::new(offset, &header));
                        self.jump(header.boot, header.first);
                        self.told_in(&header, &data.unwrap_or_default());
                    }
                    if header.kind == Kind::Start {
                        self.jump(header.boot, header.first);
                    }
                    self.after(&header);
                }
            }
        }
    }

    /// Goes on behind a good frame.
    fn after(&mut self, header: &Header) {
        self.chain = header.hash;
        match header.kind {
            Kind::Batch | Kind::Seal => {
                self.last = Some((header.boot, header.last));
                self.reserved = Some(header.reserved);
                self.closed = None;
            }
            Kind::Start => {
                self.last = Some((header.boot, header.first.saturating_sub(1)));
                self.reserved = Some(header.reserved);
                self.closed = None;
            }
            Kind::End => {
                self.closed = Some(header.reserved);
                if header.first > 0 {
                    let (boot, from, to) = (header.boot, header.first, Some(header.last));
                    self.gaps.push(Gap { boot, from, to, cause: "not_written_at_stop" });
                }
            }
        }
    }

    /// Numbers between the last record and the next one are missing unless a later record tells of them; whether
    /// there are such.
    fn jump(&mut self, boot: Boot, first: u64) -> bool {
        let Some((last_boot, last)) = self.last else { return false };
        let reserved = self.reserved.filter(|_| self.closed.is_none());
        let (to, cause) = match (last_boot == boot, reserved) {
            // Who was killed left what was reserved, and not one number more.
            (true, Some(reserved)) if reserved.checked_add(1) == Some(first) => (reserved, "unclean_stop"),
            (true, _) => (first.saturating_sub(1), "damaged"),
            // The end of an earlier boot.
            (false, Some(reserved)) => (reserved, "unclean_stop"),
            (false, None) => return false,
        };
        if last < to {
            self.gaps.push(Gap { boot: last_boot, from: last + 1, to: Some(to), cause });
        }
        last < to
    }

    /// Strikes out the gaps that records of a complete segment tell of: a gap is told right behind it.
    fn told_behind<S: Storage>(&mut self, storage: &S, file: &S::File) -> io::Result<()> {
        let mut walk = Walk::new(Stored { storage, file, offset: 0 });
        while !self.gaps.is_empty() {
            match walk.next(|_| true)? {
                Step::End => break,
                Step::Frame { header, data: Some(data), .. } if header.kind == Kind::Batch => {
                    self.told_in(&header, &data);
                }
                Step::Damaged { .. } | Step::Frame { .. } => {}
            }
        }
        Ok(())
    }

    /// Strikes out the gaps that records of this frame tell of.
    fn told_in(&mut self, header: &Header, data: &[u8]) {
        if self.gaps.is_empty() {
            return;
        }
        let Ok(raw) = header.unpack(data) else { return };
        for line in raw.split(|byte| *byte == b'\n') {
            if memchr::memmem::find(line, br#""gaps":["#).is_none() {
                continue;
            }
            let Ok(record) = proto::v1::Record::from_json(line) else { continue };
            if let Some(Body::Status(status)) = record.body {
                for told in status.gaps.iter().filter(|told| told.to_seq > 0) {
                    self.strike_out(Boot::parse(&told.boot_id), told.from_seq, told.to_seq);
                }
            }
        }
    }

    fn strike_out(&mut self, boot: Boot, from: u64, to: u64) {
        let mut left = Vec::new();
        for gap in self.gaps.drain(..) {
            let end = gap.to.unwrap_or(gap.from);
            if gap.boot != boot || end < from || to < gap.from {
                left.push(gap);
                continue;
            }
            if gap.from < from {
                left.push(Gap { to: Some(from - 1), ..gap.clone() });
            }
            if to < end {
                left.push(Gap { from: to + 1, ..gap });
            }
        }
        self.gaps = left;
    }
}

/// Writes the end of a segment once more, `bytes` of it. When an fdatasync has failed and the writer ended, its
/// last write may be readable and yet not on disk, nor marked to go there.
pub(super) fn write_again<S: Storage>(
    storage: &S,
    file: &S::File,
    length: u64,
    bytes: u64,
) -> io::Result<()> {
    let from = length.saturating_sub(bytes);
    copy_bytes(storage, file, file, from, length - from, from)?;
    storage.sync(file)
}

fn seal_of<S: Storage>(storage: &S, file: &S::File, length: u64) -> io::Result<Option<(Header, Vec<Entry>)>> {
    let mut end = [0; segment::SEAL_BYTES];
    let Some(at) = length.checked_sub(end.len() as u64) else { return Ok(None) };
    read_exact_at(storage, file, at, &mut end)?;
    let Some(bytes) = segment::seal_bytes(&end).filter(|bytes| *bytes <= length) else { return Ok(None) };
    let Ok(size) = usize::try_from(bytes) else { return Ok(None) };
    let mut seal = vec![0; size];
    read_exact_at(storage, file, length - bytes, &mut seal)?;
    Ok(segment::parse_seal(&seal))
}

/// Keeps the damaged file under another name, then puts its good frames in its place.
fn set_aside<S: Storage>(storage: &S, name: &str, file: &S::File, length: u64) -> io::Result<()> {
    let whole = write_new(storage, &format!("{name}{DAMAGED}{DRAFT}"), |copy| {
        copy_bytes(storage, file, copy, 0, length, 0)
    })?;
    storage.rename(&whole, &format!("{name}{DAMAGED}"))?;
    let good = write_new(storage, &format!("{name}{DRAFT}"), |copy| {
        let mut walk = Walk::new(Stored { storage, file, offset: 0 });
        let mut to = 0;
        loop {
            match walk.next(|_| true)? {
                Step::End => return Ok(()),
                Step::Damaged { .. } => {}
                Step::Frame { offset, header, .. } => {
                    copy_bytes(storage, file, copy, offset, header.frame_bytes(), to)?;
                    to += header.frame_bytes();
                }
            }
        }
    })?;
    storage.rename(&good, name)?;
    storage.sync_folder()
}

fn write_new<S: Storage>(
    storage: &S,
    name: &str,
    fill: impl FnOnce(&S::File) -> io::Result<()>,
) -> io::Result<String> {
    let result = storage.create(name).and_then(|file| fill(&file).and_then(|()| storage.sync(&file)));
    if result.is_err() {
        let _ = storage.remove(name);
    }
    result.map(|()| name.to_owned())
}

fn copy_bytes<S: Storage>(
    storage: &S,
    from: &S::File,
    to: &S::File,
    offset: u64,
    length: u64,
    at: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    while done < length {
        let part = usize::try_from(length - done).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let buffer = buffer.get_mut(..part).unwrap_or_default();
        read_exact_at(storage, from, offset + done, buffer)?;
        storage.write_at(to, at + done, buffer)?;
        done += part as u64;
    }
    Ok(())
}

/// Only so many damaged segments are kept.
fn forget_old_damaged<S: Storage>(storage: &S) {
    let Ok(mut names) = storage.list() else { return };
    names.retain(|name| name.ends_with(DAMAGED));
    names.sort_unstable();
    let too_many = names.len().saturating_sub(MAX_DAMAGED);
    for name in names.iter().take(too_many) {
        // Removed at another start, if not now.
        let _ = storage.remove(name);
    }
}
