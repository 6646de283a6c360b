//! The writing side: one state machine over a [`Storage`], driven by whoever owns the records and the clock.
//!
//! Records wait in memory until [`Options::commit_records`] of them or the oldest for [`Options::commit_ns`];
//! then they are written as one frame and fdatasync makes them durable. While the storage fails, up to
//! [`MAX_WAITING_BYTES`] wait; the newest beyond that are dropped, and the gap in their numbers is told when it
//! begins and when it ends.

use std::{collections::VecDeque, io};

use crate::{
    frame::{Boot, Hash, Header, Key, Kind, MAX_RAW_BYTES},
    line::Position,
    segment::{self, Entry},
    storage::Storage,
};

mod batch;
mod gaps;
mod pack;
mod recover;
mod retain;
mod rewrite;

use batch::Waiting;
pub use gaps::Gap;
use gaps::Gaps;
pub use pack::{Inline, Pack, Packer, Thread};
pub use recover::Recovery;
use rewrite::Rewrite;

/// Most bytes of records, uncompressed, that wait to be written.
pub const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// Most records that wait to be written.
pub const MAX_WAITING_RECORDS: usize = 16 * 1024;
/// Records that may be numbered beyond the last durable one while the storage works: those that wait, and those
/// on their way to the writer. After a crash numbers begin behind them.
pub const RESERVED: u64 = 32 * 1024;
/// Most records on their way to the writer.
pub const MAX_QUEUED: usize = 8 * 1024;
/// Records of one frame, uncompressed, in bytes; one record may be longer.
const BATCH_BYTES: usize = 1024 * 1024;
/// Time between two attempts while the storage fails.
const RETRY_NS: u64 = 1_000_000_000;
/// Compression of what is written at once. Higher levels gain little on a batch and cost the time of a commit.
const LEVEL: i32 = 1;
const NS_PER_S: u64 = 1_000_000_000;

/// How to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest time a record waits to be made durable, in nanoseconds.
    pub commit_ns: u64,
    /// Records after which is committed at once; 1 makes every record durable by itself.
    pub commit_records: usize,
    /// Size after which a segment is complete, in bytes on disk.
    pub segment_bytes: u64,
    /// Age after which a segment is complete, in nanoseconds.
    pub segment_ns: u64,
    /// All segments together, in bytes on disk; the oldest go first.
    pub retain_bytes: u64,
    /// Age of its newest record after which a segment is removed, in nanoseconds.
    pub retain_ns: u64,
    /// Whether complete segments are rewritten with larger frames.
    pub repack: bool,
    /// Key of the hashes.
    pub key: Option<Key>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_ns: 100_000_000,
            commit_records: 512,
            segment_bytes: 16 * 1024 * 1024,
            segment_ns: 24 * 3600 * NS_PER_S,
            retain_bytes: 1024 * 1024 * 1024,
            retain_ns: 30 * 24 * 3600 * NS_PER_S,
            repack: true,
            key: None,
        }
    }
}

/// Now, by the clock that never jumps and by the calendar, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// For intervals.
    pub steady_ns: u64,
    /// For ages.
    pub calendar_ns: u64,
}

/// The segment that is written.
struct Active<F> {
    number: u64,
    file: F,
    /// Durable length; anything behind it is not part of the log.
    length: u64,
    entries: Vec<Entry>,
    records: u64,
    /// Last number that is settled, and by which boot.
    last: (Boot, u64),
    /// Numbers up to this one may be in use.
    reserved: u64,
    /// Calendar time of its first frame.
    since_ns: u64,
    /// Whether something may stand behind `length`.
    torn: bool,
    /// Whether its name survives a crash.
    named: bool,
    /// Bytes at its end that may be in the page cache only.
    unsure: u64,
}

/// The log, open for writing.
pub struct Writer<S: Storage> {
    storage: S,
    packer: Box<dyn Pack>,
    options: Options,
    boot: Boot,
    waiting: Waiting,
    active: Option<Active<S::File>>,
    next_segment: u64,
    /// Hash of the last frame.
    chain: Hash,
    /// Last record made durable since the start.
    durable: Option<(Boot, u64)>,
    /// Complete segments, oldest first.
    complete: VecDeque<retain::Complete>,
    rewrite: Option<Rewrite<S::File>>,
    /// When segments were last looked at for removal.
    retained_ns: u64,
    gaps: Gaps,
    failure: Option<Failure>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
}

/// The storage fails.
#[derive(Debug, Clone, Copy)]
struct Failure {
    retry_ns: u64,
    cause: &'static str,
}

impl<S: Storage> Writer<S> {
    /// Recovers the log in `storage` and opens it for records of `boot`.
    pub fn open(
        storage: S,
        packer: Box<dyn Pack>,
        options: Options,
        boot: Boot,
        now: Now,
    ) -> io::Result<(Self, Recovery)> {
        let found = recover::recover(&storage)?;
        let recovery = found.recovery(boot);
        let mut writer = Self {
            storage,
            packer,
            boot,
            waiting: Waiting::default(),
            next_segment: found.next_segment,
            chain: found.chain,
            durable: None,
            complete: found.complete,
            active: found.active,
            rewrite: None,
            retained_ns: 0,
            gaps: Gaps::new(recovery.next_seq),
            failure: None,
            compressor: None,
            options,
        };
        if let Err(error) = writer.begin(recovery.next_seq, now) {
            writer.fail(&error, now);
        }
        Ok((writer, recovery))
    }

    /// Reserves numbers before any is used, so that none is used twice when this is killed at once.
    fn begin(&mut self, next_seq: u64, now: Now) -> io::Result<()> {
        self.ready(now)?;
        let mut header = self.header(Kind::Start);
        header.first = next_seq;
        header.reserved = next_seq.saturating_add(RESERVED);
        header.finish(&[], self.options.key.as_ref());
        self.append(&[(header, Vec::new())])
    }

    fn fail(&mut self, error: &io::Error, now: Now) {
        if let Some(active) = &mut self.active {
            active.torn = true;
        }
        let retry_ns = now.steady_ns.saturating_add(RETRY_NS);
        self.failure = Some(Failure { retry_ns, cause: cause_of(error) });
    }

    /// Takes a record: its line with the line end, its number and its time. A record that does not fit is
    /// dropped, and is part of a gap.
    pub fn push(&mut self, line: &[u8], seq: u64, time_ns: u64, now: Now) {
        if self.waiting.is_full(line.len()) && self.failure.is_none() {
            self.commit(now);
        }
        let cause = match self.failure {
            _ if line.len() > MAX_RAW_BYTES as usize => Some("too_large"),
            _ if !self.waiting.is_full(line.len()) => None,
            Some(failure) => Some(failure.cause),
            None => Some("queue_full"),
        };
        if let Some(cause) = cause {
            self.gaps.drop(self.boot, seq, cause);
            return;
        }
        self.gaps.accept(self.boot, seq);
        self.waiting.push(self.boot, line, seq, time_ns, now.steady_ns);
        if self.waiting.records() >= self.options.commit_records && self.failure.is_none() {
            self.commit(now);
        }
    }

    /// Does what is due: commit, completion of a segment, retention.
    pub fn tick(&mut self, now: Now) {
        let due = match (self.waiting.since_ns(), self.failure) {
            (_, Some(failure)) => now.steady_ns >= failure.retry_ns,
            (Some(since), None) => now.steady_ns >= since.saturating_add(self.options.commit_ns),
            (None, None) => false,
        };
        if due {
            self.commit(now);
        }
        if self.failure.is_none() {
            self.complete_segment(now);
        } else if self.retain_is_due(now) {
            // What is too old may be the room that is wanting.
            self.retain(now);
        }
    }

    /// When [`Writer::tick`] has to be called at the latest, by the steady clock.
    pub fn due_ns(&self) -> Option<u64> {
        match self.failure {
            Some(failure) => Some(failure.retry_ns),
            None => self.waiting.since_ns().map(|since| since.saturating_add(self.options.commit_ns)),
        }
    }

    /// Makes durable what waits, as far as the storage lets it.
    pub fn commit(&mut self, now: Now) {
        match self.write_waiting(now) {
            Ok(()) => self.failure = None,
            Err(error) => self.fail(&error, now),
        }
    }

    /// The last record made durable since the start, by boot and number.
    pub fn durable(&self) -> Option<(Boot, u64)> {
        self.durable
    }

    /// Behind the last durable record: what a [`crate::Reader`] that follows from here gets is newer.
    pub fn position(&self) -> Position {
        match &self.active {
            Some(active) => Position { segment: active.number, records: active.records },
            None => Position { segment: self.next_segment, records: 0 },
        }
    }

    /// Gives back what waits and is not durable, for a caller who keeps it elsewhere and pushes it again later. Its
    /// numbers are free again. What a failed commit may have left on the storage is cut off before anything else is
    /// written; should the process die before that, recovery keeps it, and it stands behind [`Writer::position`].
    pub fn withdraw(&mut self) {
        if let Some(first) = self.waiting.batches().next() {
            self.gaps.take_back(first.first());
        }
        self.waiting.clear();
    }

    /// Whether nothing waits and nothing is being completed: no record is only in memory or in an active segment.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.active.is_none()
    }

    /// Why nothing can be written, while that is so.
    pub fn failure(&self) -> Option<&'static str> {
        self.failure.map(|failure| failure.cause)
    }

    /// Gaps that began or ended since the last call.
    pub fn gaps(&mut self) -> Vec<Gap> {
        self.gaps.take()
    }

    /// Commits and says that this was the end. `false` when the storage does not take it.
    pub fn close(mut self, now: Now) -> bool {
        self.commit(now);
        if self.failure.is_some() {
            return false;
        }
        let open = self.gaps.open();
        let last = self.gaps.numbered();
        let result = self.ready(now).and_then(|()| {
            let mut header = self.header(Kind::End);
            (header.first, header.last) = open.unwrap_or((0, 0));
            header.reserved = last;
            header.finish(&[], self.options.key.as_ref());
            self.append(&[(header, Vec::new())])
        });
        if let Some(rewrite) = self.rewrite.take() {
            rewrite.give_up(&self.storage);
        }
        result.is_ok()
    }

    fn write_waiting(&mut self, now: Now) -> io::Result<()> {
        if self.waiting.is_empty() && self.failure.is_none() {
            return Ok(());
        }
        self.ready(now)?;
        let mut frames = Vec::new();
        let mut chain = self.chain;
        let mut before = self.active.as_ref().map_or(0, |active| active.records);
        for batch in self.waiting.batches() {
            let data = compress(&mut self.compressor, &batch.raw)?;
            let mut header = self.header(Kind::Batch);
            batch.describe(&mut header);
            header.before = before;
            header.previous = chain;
            header.finish(&data, self.options.key.as_ref());
            chain = header.hash;
            before += u64::from(header.count);
            frames.push((header, data));
        }
        self.append(&frames)?;
        self.durable = self.waiting.last().or(self.durable);
        self.waiting.clear();
        Ok(())
    }

    /// Makes sure that there is a segment with a sound end.
    fn ready(&mut self, now: Now) -> io::Result<()> {
        if self.active.is_none() {
            self.create(now)?;
        }
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.torn {
            // A batch whose sync failed may be there whole: to leave it and go on elsewhere would double it.
            self.storage.truncate(&active.file, active.length)?;
            active.torn = false;
        }
        if active.unsure > 0 {
            recover::write_again(&self.storage, &active.file, active.length, active.unsure)?;
            active.unsure = 0;
        }
        if !active.named {
            self.storage.sync_folder()?;
            active.named = true;
        }
        if active.entries.is_empty() {
            active.since_ns = now.calendar_ns;
        }
        Ok(())
    }

    fn create(&mut self, now: Now) -> io::Result<()> {
        let name = segment::name(self.next_segment);
        let file = match self.storage.create(&name) {
            // A start of the same segment that failed half-way.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.storage.open(&name)?,
            other => other?,
        };
        self.active = Some(Active {
            number: self.next_segment,
            file,
            length: 0,
            entries: Vec::new(),
            records: 0,
            last: (self.boot, self.gaps.numbered()),
            reserved: self.gaps.numbered().saturating_add(RESERVED),
            since_ns: now.calendar_ns,
            torn: true,
            named: false,
            unsure: 0,
        });
        self.next_segment += 1;
        Ok(())
    }

    fn header(&self, kind: Kind) -> Header {
        let (segment, before) = self.active.as_ref().map_or((0, 0), |active| (active.number, active.records));
        Header::new(kind, segment, before, self.boot, self.chain)
    }

    /// Writes frames behind the active segment and makes them durable.
    fn append(&mut self, frames: &[(Header, Vec<u8>)]) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|_| !frames.is_empty()) else { return Ok(()) };
        let mut bytes = Vec::new();
        for (header, data) in frames {
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(data);
        }
        active.torn = true;
        self.storage.write_at(&active.file, active.length, &bytes)?;
        self.storage.sync(&active.file)?;
        active.torn = false;
        for (header, _) in frames {
            if header.kind == Kind::Batch {
                active.entries.push(Entry::new(active.length, header));
            }
            active.length += header.frame_bytes();
            active.reserved = header.reserved;
            match header.kind {
                Kind::Batch => active.last = (header.boot, header.last),
                Kind::Start => active.last = (header.boot, header.first.saturating_sub(1)),
                Kind::End | Kind::Seal => {}
            }
            active.records += u64::from(header.count);
            self.chain = header.hash;
        }
        Ok(())
    }
}

/// `raw` as a zstd frame that carries its length and checksum.
fn compress(compressor: &mut Option<zstd::bulk::Compressor<'static>>, raw: &[u8]) -> io::Result<Vec<u8>> {
    let compressor = match compressor {
        Some(compressor) => compressor,
        None => {
            let mut new = zstd::bulk::Compressor::new(LEVEL)?;
            new.include_checksum(true)?;
            compressor.insert(new)
        }
    };
    compressor.compress(raw)
}

/// The error in a word, for records.
fn cause_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "storage_full",
        io::ErrorKind::ReadOnlyFilesystem => "read_only",
        io::ErrorKind::PermissionDenied => "permission_denied",
        _ => "io_error",
    }
}

#[cfg(test)]
mod tests;
