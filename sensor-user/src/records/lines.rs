//! Lines of the log, of files, of folders of files, and of standard input.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use flow_log::{Lines, Range, ReadError, Reader, read_file, read_stream};
use proto::v1::Record;

/// Ends of the names of files that are read in a folder.
const NAMES: [&str; 3] = [".jsonl", ".jsonl.zst", ".json"];
/// The end of the name of a segment of the log, after its number.
const SEGMENT: &str = ".jsonl.zst";

/// A line and the file that it is from.
pub(super) struct Line {
    line: flow_log::Line,
    name: PathBuf,
}

impl Line {
    pub(super) fn new(line: flow_log::Line, name: &Path) -> Self {
        Self { line, name: name.to_owned() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.line.bytes()
    }

    pub(super) fn record(&self) -> Result<Record, serde_json::Error> {
        self.line.record()
    }

    /// Where it stands.
    pub(super) fn place(&self) -> String {
        format!("{}, line {}", self.name.display(), self.line.position.records)
    }
}

type Item = Result<flow_log::Line, ReadError>;

/// The log at `path`, if it is one: a folder with segments.
pub(super) fn log(path: &Path) -> Option<Reader> {
    let files = path.is_dir().then(|| files_in(path).ok())??;
    files.iter().any(|file| is_segment(file)).then(|| Reader::open(path).ok())?
}

/// The lines of `path` in `range`: a log, a file, a folder of files, or `-` for standard input. Frames of a log
/// whose times are out of range are not even read.
pub(super) fn open(
    path: &Path,
    range: Range,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + use<>> {
    let mut files = VecDeque::new();
    let first: Lines = if path.as_os_str() == "-" {
        read_stream(Path::new("standard input"), io::stdin(), range)?
    } else if let Some(log) = log(path) {
        log.lines(range)?
    } else if path.is_dir() {
        files = files_in(path)?;
        read_file(&files.pop_front().unwrap_or_default(), range)?
    } else {
        read_file(path, range)?
    };
    let mut rest = files.into_iter();
    let mut current: Option<(PathBuf, Box<dyn Iterator<Item = Item>>)> =
        Some((path.to_owned(), Box::new(first)));
    Ok(std::iter::from_fn(move || {
        loop {
            let (name, lines) = current.as_mut()?;
            if let Some(line) = lines.next() {
                return Some(line.map(|line| Line::new(line, name)).map_err(anyhow::Error::from));
            }
            let next = rest.next()?;
            match read_file(&next, range) {
                Ok(lines) => current = Some((next, Box::new(lines))),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }))
}

fn files_in(folder: &Path) -> anyhow::Result<VecDeque<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| NAMES.iter().any(|end| name(file).ends_with(end)));
    if files.is_empty() {
        bail!("no {} files in {}", NAMES.join(", "), folder.display());
    }
    files.sort();
    Ok(files.into())
}

fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn is_segment(file: &Path) -> bool {
    let number = name(file).strip_suffix(SEGMENT);
    number.is_some_and(|number| number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit()))
}
