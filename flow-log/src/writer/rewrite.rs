//! Completing a segment: its small frames become few large ones, which take much less space, and an index.
//!
//! The new file is written beside the old one while the old one is still appended to; when it has caught up
//! it takes the old one's name. So hashes stay one chain: the next segment begins after that.

use std::io;

use super::{Active, Now, Writer, batch::Batch, pack::PACK_BYTES, retain::Complete};
use crate::{
    frame::{HEADER_BYTES, Hash, Header, Kind},
    segment::{self, Entry},
    storage::{Storage, read_exact_at},
};

/// What a file is called until it is complete.
pub(super) const DRAFT: &str = ".tmp";
/// The active segment may grow to this many times its size while it is rewritten.
const PATIENCE: u64 = 2;

/// A segment on its way to its final form.
pub(super) struct Rewrite<F> {
    name: String,
    file: F,
    length: u64,
    entries: Vec<Entry>,
    records: u64,
    chain: Hash,
    /// Frames of the old file that are taken over.
    done: usize,
    packing: Option<Header>,
}

impl<F> Rewrite<F> {
    /// Removes what was written.
    pub(super) fn give_up<S: Storage<File = F>>(self, storage: &S) {
        // Recovery removes it otherwise.
        let _ = storage.remove(&self.name);
    }
}

impl<S: Storage> Writer<S> {
    /// Completes the active segment when it is large or old enough, a step at a time.
    pub(super) fn complete_segment(&mut self, now: Now) {
        if let Some(rewrite) = self.rewrite.take() {
            self.rewrite_step(rewrite, now);
        } else if self.active.as_ref().is_some_and(|active| self.is_complete(active, now)) {
            match self.options.repack.then(|| self.start_rewrite()) {
                Some(Ok(rewrite)) => self.rewrite = rewrite,
                Some(Err(_)) | None => self.seal_in_place(now),
            }
        } else if self.retain_is_due(now) {
            self.retain(now);
        }
    }

    fn is_complete(&self, active: &Active<S::File>, now: Now) -> bool {
        let age = now.calendar_ns.saturating_sub(active.since_ns);
        let large = active.length >= self.options.segment_bytes;
        !active.entries.is_empty() && (large || age >= self.options.segment_ns)
    }

    fn start_rewrite(&mut self) -> io::Result<Option<Rewrite<S::File>>> {
        let Some(active) = &self.active else { return Ok(None) };
        // The chain goes on where the segment begins: before its first records may stand where a writer started,
        // and that is not taken over.
        let mut first = [0; HEADER_BYTES];
        read_exact_at(&self.storage, &active.file, 0, &mut first)?;
        let first = Header::decode(&first).ok_or_else(|| io::Error::other("a frame is damaged"))?;
        let name = segment::name(active.number) + DRAFT;
        let file = self.storage.create(&name)?;
        Ok(Some(Rewrite {
            name,
            file,
            length: 0,
            entries: Vec::new(),
            records: 0,
            chain: first.previous,
            done: 0,
            packing: None,
        }))
    }

    fn rewrite_step(&mut self, mut rewrite: Rewrite<S::File>, now: Now) {
        let late = self
            .active
            .as_ref()
            .is_some_and(|active| active.length >= self.options.segment_bytes.saturating_mul(PATIENCE));
        match self.try_step(&mut rewrite) {
            Ok(true) => self.finish_rewrite(rewrite, now),
            Ok(false) if !late => self.rewrite = Some(rewrite),
            Ok(false) | Err(_) => {
                rewrite.give_up(&self.storage);
                self.seal_in_place(now);
            }
        }
    }

    /// `true` when all frames are taken over.
    fn try_step(&mut self, rewrite: &mut Rewrite<S::File>) -> io::Result<bool> {
        if let Some(mut header) = rewrite.packing.take() {
            let Some(data) = self.packer.finished() else {
                rewrite.packing = Some(header);
                return Ok(false);
            };
            let data = data?;
            header.before = rewrite.records;
            header.previous = rewrite.chain;
            header.finish(&data, self.options.key.as_ref());
            rewrite.append(&self.storage, &header, &data)?;
        }
        match self.next_batch(rewrite)? {
            Some(batch) => {
                let mut header = self.header(Kind::Batch);
                batch.describe(&mut header);
                rewrite.packing = Some(header);
                self.packer.start(batch.raw);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// Consecutive records of the old file's next frames.
    fn next_batch(&self, rewrite: &mut Rewrite<S::File>) -> io::Result<Option<Batch>> {
        let Some(active) = &self.active else { return Ok(None) };
        let mut batch: Option<Batch> = None;
        for entry in active.entries.get(rewrite.done..).unwrap_or_default() {
            let (header, data) = self.read_frame(active, entry)?;
            let raw = header.unpack(&data).map_err(io::Error::other)?;
            let next = Batch::of(&header, raw);
            match &mut batch {
                None => batch = Some(next),
                Some(batch) if batch.continues(next.boot(), next.first(), next.raw.len(), PACK_BYTES) => {
                    batch.extend(&next);
                }
                Some(_) => break,
            }
            rewrite.done += 1;
        }
        Ok(batch)
    }

    fn read_frame(&self, active: &Active<S::File>, entry: &Entry) -> io::Result<(Header, Vec<u8>)> {
        let mut bytes = vec![0; HEADER_BYTES + usize::try_from(entry.data_bytes).unwrap_or_default()];
        read_exact_at(&self.storage, &active.file, entry.offset, &mut bytes)?;
        let data = bytes.split_off(HEADER_BYTES);
        let header = Header::decode(&bytes).filter(|header| header.data_crc == crc32fast::hash(&data));
        Ok((header.ok_or_else(|| io::Error::other("a frame is damaged"))?, data))
    }

    /// Seals the new file and puts it in the place of the old one.
    fn finish_rewrite(&mut self, mut rewrite: Rewrite<S::File>, now: Now) {
        let Some(active) = &self.active else { return };
        let (seal, index) = self.seal(active, &rewrite.entries, rewrite.chain);
        let result = rewrite
            .append(&self.storage, &seal, &index)
            .and_then(|()| self.storage.sync(&rewrite.file))
            .and_then(|()| self.storage.rename(&rewrite.name, &segment::name(active.number)));
        if result.is_err() {
            rewrite.give_up(&self.storage);
            self.seal_in_place(now);
            return;
        }
        // The next segment's first commit waits until the folder is durable, and this name with it.
        let number = active.number;
        self.chain = seal.hash;
        self.active = None;
        self.complete.push_back(Complete { number, bytes: rewrite.length, to_time: seal.to_time });
        self.retain(now);
    }

    /// Seals the active segment as it is. A seal whose sync failed may stand there whole, and nothing may follow it:
    /// the segment stays the active one until the storage works again.
    fn seal_in_place(&mut self, now: Now) {
        let Some(active) = &self.active else { return };
        let (seal, index) = self.seal(active, &active.entries, self.chain);
        let to_time = seal.to_time;
        if let Err(error) = self.append(&[(seal, index)]) {
            self.fail(&error, now);
        } else if let Some(Active { number, length, .. }) = self.active.take() {
            self.complete.push_back(Complete { number, bytes: length, to_time });
        }
        self.retain(now);
    }

    /// The last frame of the active segment, and the index that is its data.
    fn seal(&self, active: &Active<S::File>, entries: &[Entry], chain: Hash) -> (Header, Vec<u8>) {
        let index = segment::encode_index(entries);
        let mut header = Header::new(Kind::Seal, active.number, active.records, self.boot, chain);
        header.reserved = active.reserved;
        header.first = entries.first().map_or(0, |entry| entry.first);
        (header.boot, header.last) = active.last;
        header.from_time = entries.iter().map(|entry| entry.from_time).min().unwrap_or_default();
        header.to_time = entries.iter().map(|entry| entry.to_time).max().unwrap_or_default();
        header.finish(&index, self.options.key.as_ref());
        (header, index)
    }
}

impl<F> Rewrite<F> {
    fn append<S: Storage<File = F>>(&mut self, storage: &S, header: &Header, data: &[u8]) -> io::Result<()> {
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(data);
        storage.write_at(&self.file, self.length, &bytes)?;
        if header.kind == Kind::Batch {
            self.entries.push(Entry::new(self.length, header));
        }
        self.length += header.frame_bytes();
        self.records += u64::from(header.count);
        self.chain = header.hash;
        Ok(())
    }
}
