//! Lines of files, of folders of files, and of standard input.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// First bytes of a zstd frame (RFC 8878 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of a skippable frame's magic number; its first is 0x50 to 0x5f (RFC 8878 3.1.2).
const SKIPPABLE_MAGIC: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Ends of the names of files that are read in a folder.
const NAMES: [&str; 3] = [".jsonl", ".jsonl.zst", ".json"];
/// Longest line, bytes; a longer one is an error and passed over.
const MAX_LINE: u64 = 16 << 20;

/// A line and where it stands.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    name: String,
    number: u64,
}

impl Line {
    /// Where it stands.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.name, self.number)
    }
}

/// The lines of `path`: a file, a folder, or `-` for standard input.
pub(super) fn open(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + use<>> {
    let files = match path.is_dir() {
        true => files(path)?,
        false => VecDeque::from([path.to_owned()]),
    };
    let mut lines = Lines { files, open: None, buffer: Vec::new() };
    // A file that cannot be opened is told at once.
    lines.next_file()?;
    Ok(lines)
}

fn files(folder: &Path) -> anyhow::Result<VecDeque<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        NAMES.iter().any(|end| name.ends_with(end))
    });
    if files.is_empty() {
        bail!("no {} files in {}", NAMES.join(", "), folder.display());
    }
    files.sort();
    Ok(files.into())
}

struct Lines {
    files: VecDeque<PathBuf>,
    open: Option<(String, u64, Box<dyn BufRead>)>,
    buffer: Vec<u8>,
}

impl Lines {
    fn next_file(&mut self) -> anyhow::Result<bool> {
        let Some(path) = self.files.pop_front() else { return Ok(false) };
        let name = path.display().to_string();
        let input: Box<dyn Read> = match name.as_str() {
            "-" => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(&path).with_context(|| format!("cannot open {name}"))?),
        };
        let mut input = BufReader::new(input);
        let first = input.fill_buf().with_context(|| format!("cannot read {name}"))?;
        let lines: Box<dyn BufRead> = match is_zstd(first) {
            true => Box::new(BufReader::new(zstd::Decoder::with_buffer(input)?)),
            false => Box::new(input),
        };
        self.open = Some((name, 0, lines));
        Ok(true)
    }

    fn line(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            let Some((name, number, input)) = &mut self.open else {
                if !self.next_file()? {
                    return Ok(None);
                }
                continue;
            };
            self.buffer.clear();
            *number += 1;
            let place = || format!("{name}, line {number}");
            let taken = match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.buffer) {
                Ok(taken) => taken,
                Err(error) => {
                    // What follows a damaged place of a file cannot be found.
                    let error = anyhow::Error::from(error).context(place());
                    self.open = None;
                    return Err(error);
                }
            };
            if taken == 0 {
                self.open = None;
                continue;
            }
            if self.buffer.last() != Some(&b'\n') && self.buffer.len() as u64 >= MAX_LINE {
                let error = anyhow::anyhow!("{}: longer than {MAX_LINE} bytes", place());
                input.skip_until(b'\n')?;
                return Err(error);
            }
            let bytes = self.buffer.trim_ascii().to_vec();
            if !bytes.is_empty() {
                return Ok(Some(Line { bytes, name: name.clone(), number: *number }));
            }
        }
    }
}

fn is_zstd(first: &[u8]) -> bool {
    let skippable =
        first.get(1..4) == Some(&SKIPPABLE_MAGIC) && first.first().is_some_and(|byte| byte >> 4 == 5);
    first.starts_with(&ZSTD_MAGIC) || skippable
}

impl Iterator for Lines {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line().transpose()
    }
}
