//! Checks a whole log: every byte, every hash, every link from frame to frame.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::{
    frame::{Boot, Hash, Header, Key, Kind},
    reader::{Missing, ReadError},
    segment::{self, Entry},
    walk::{Input, Step, Walk},
};

/// Breaks that are listed; more are counted.
const MAX_BREAKS: usize = 1000;

/// Where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The segment.
    pub path: PathBuf,
    /// Offset of the frame.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// What is in a log, and whether it is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments.
    pub segments: u64,
    /// Frames of records.
    pub frames: u64,
    /// Records.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes uncompressed.
    pub raw_bytes: u64,
    /// Least and greatest record time, nanoseconds since the epoch.
    pub times: Option<(u64, u64)>,
    /// Numbers that are not in the log: lost, or never used as the sensor was killed.
    pub gaps: Vec<Missing>,
    /// Where it is broken, the first place first.
    pub breaks: Vec<Break>,
    /// Breaks in all.
    pub broken: u64,
    /// Frames whose hash is keyed, and could not be checked without the key.
    pub unchecked: u64,
    /// Frames whose hash has no key.
    pub unkeyed: u64,
    /// Hash of the last frame: whoever noted an earlier one can tell that it is still there.
    pub last_hash: Option<Hash>,
}

/// The check, segment after segment.
pub(crate) struct Check<'a> {
    pub(crate) report: Report,
    key: Option<&'a Key>,
    previous: Option<(u64, Hash)>,
    seq: Option<(Boot, u64)>,
    /// Frames of records of the segment.
    entries: Vec<Entry>,
}

/// Checks the log in `folder`. With `key`, keyed hashes are checked too.
pub fn verify(folder: &Path, key: Option<&Key>) -> Result<Report, ReadError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReadError::Io { path, source }
    };
    let mut check = Check::new(key);
    for (number, path) in segment::list(folder).map_err(failed(folder))? {
        let file = match File::open(&path) {
            Ok(file) => file,
            // Retention was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&path)(error)),
        };
        let length = file.metadata().map_err(failed(&path))?.len();
        check.segment(number, &path, file, length).map_err(failed(&path))?;
    }
    Ok(check.report)
}

impl<'a> Check<'a> {
    /// Nothing is checked yet.
    pub(crate) fn new(key: Option<&'a Key>) -> Self {
        Self { report: Report::default(), key, previous: None, seq: None, entries: Vec::new() }
    }

    /// Checks the segment that follows.
    pub(crate) fn segment(
        &mut self,
        number: u64,
        path: &Path,
        input: impl Input,
        length: u64,
    ) -> io::Result<()> {
        self.report.segments += 1;
        self.report.bytes += length;
        self.entries.clear();
        let mut walk = Walk::new(input);
        let mut sealed = false;
        loop {
            match walk.next(|_| true)? {
                Step::End => return Ok(()),
                Step::Damaged { offset, what, .. } => self.broken(path, offset, what),
                Step::Frame { offset, header, data } => {
                    if sealed {
                        self.broken(path, offset, "a frame stands behind the end of its segment");
                    }
                    sealed |= header.kind == Kind::Seal;
                    self.frame(number, path, offset, &header, &data.unwrap_or_default());
                }
            }
        }
    }

    fn frame(&mut self, number: u64, path: &Path, offset: u64, header: &Header, data: &[u8]) {
        if header.segment != number {
            self.broken(path, offset, "the frame belongs to another segment");
        }
        match self.previous {
            Some((_, hash)) if hash == header.previous => {}
            Some((before, _)) if before != number && number != before + 1 => {
                self.broken(path, offset, "segments are absent before this one");
            }
            Some(_) => self.broken(path, offset, "the frame before this one is not the one that was written"),
            // Retention took what was before the first one.
            None => {}
        }
        self.hash(path, offset, header, data);
        self.previous = Some((number, header.hash));
        self.report.last_hash = Some(header.hash);
        if header.kind == Kind::Seal && segment::decode_index(data).as_ref() != Some(&self.entries) {
            self.broken(path, offset, "the index is not that of the frames before it");
        }
        if header.kind != Kind::Batch {
            return;
        }
        self.entries.push(Entry::new(offset, header));
        match header.unpack(data) {
            Ok(raw) => {
                let lines = memchr::memchr_iter(b'\n', &raw).count() as u64;
                if lines != u64::from(header.count)
                    || header.last.wrapping_sub(header.first).wrapping_add(1) != lines
                {
                    self.broken(path, offset, "the frame holds more or fewer records than its header says");
                }
            }
            Err(what) => self.broken(path, offset, what),
        }
        self.count(header);
    }

    fn count(&mut self, header: &Header) {
        let report = &mut self.report;
        report.frames += 1;
        report.records += u64::from(header.count);
        report.raw_bytes += u64::from(header.raw_bytes);
        let (from, to) = report.times.unwrap_or((u64::MAX, 0));
        report.times = Some((from.min(header.from_time), to.max(header.to_time)));
        if let Some((boot, last)) = self.seq
            && boot == header.boot
            && last + 1 < header.first
        {
            report.gaps.push(Missing { boot, from: last + 1, to: header.first - 1 });
        }
        self.seq = Some((header.boot, header.last));
    }

    fn hash(&mut self, path: &Path, offset: u64, header: &Header, data: &[u8]) {
        if header.keyed && self.key.is_none() {
            self.report.unchecked += 1;
            return;
        }
        self.report.unkeyed += u64::from(!header.keyed);
        let key = self.key.filter(|_| header.keyed);
        if header.expected_hash(data, key) != header.hash {
            self.broken(path, offset, "the hash is not that of the content");
        }
    }

    fn broken(&mut self, path: &Path, offset: u64, what: &'static str) {
        self.report.broken += 1;
        if self.report.breaks.len() < MAX_BREAKS {
            self.report.breaks.push(Break { path: path.to_owned(), offset, what });
        }
    }
}
