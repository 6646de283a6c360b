//! Names of segments, and the index at the end of a complete one.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::frame::{Boot, HEADER_BYTES, Header, INDEX_MAGIC, Kind, SKIPPABLE_BYTES, take};

/// What the names of segments end with.
pub(crate) const SUFFIX: &str = ".jsonl.zst";
/// Last bytes of a complete segment.
const SEAL_MARK: [u8; 8] = *b"kwseal1\n";
/// What tells where the seal begins.
pub(crate) const SEAL_BYTES: usize = SEAL_MARK.len() + 4;
const ENTRY_BYTES: usize = 64;

/// Where a frame of records is, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) data_bytes: u32,
    pub(crate) count: u32,
    pub(crate) boot: Boot,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) from_time: u64,
    pub(crate) to_time: u64,
}

/// Name of the segment with this number.
pub(crate) fn name(number: u64) -> String {
    format!("{number:08}{SUFFIX}")
}

/// The number in a segment's name.
pub(crate) fn number(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    let plain = digits.len() >= 8 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// The segments in a folder, oldest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(number) = path.file_name().and_then(number) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl Entry {
    pub(crate) fn new(offset: u64, header: &Header) -> Self {
        Self {
            offset,
            data_bytes: header.data_bytes,
            count: header.count,
            boot: header.boot,
            first: header.first,
            last: header.last,
            from_time: header.from_time,
            to_time: header.to_time,
        }
    }
}

/// The skippable frame that holds `entries`.
pub(crate) fn encode_index(entries: &[Entry]) -> Vec<u8> {
    let content = entries.len() * ENTRY_BYTES + SEAL_BYTES;
    let mut out = Vec::with_capacity(SKIPPABLE_BYTES + content);
    out.extend_from_slice(&INDEX_MAGIC.to_le_bytes());
    out.extend_from_slice(&u32::try_from(content).unwrap_or(u32::MAX).to_le_bytes());
    for entry in entries {
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.data_bytes.to_le_bytes());
        out.extend_from_slice(&entry.count.to_le_bytes());
        out.extend_from_slice(&entry.boot.bytes());
        for number in [entry.first, entry.last, entry.from_time, entry.to_time] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    let total = u32::try_from(SKIPPABLE_BYTES + content).unwrap_or(u32::MAX);
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&SEAL_MARK);
    out
}

/// The entries in the data of a [`Kind::Seal`] frame.
pub(crate) fn decode_index(data: &[u8]) -> Option<Vec<Entry>> {
    let mut rest = data.get(SKIPPABLE_BYTES..data.len().checked_sub(SEAL_BYTES)?)?;
    let mut entries = Vec::with_capacity(rest.len() / ENTRY_BYTES);
    while !rest.is_empty() {
        entries.push(Entry {
            offset: u64::from_le_bytes(take(&mut rest)?),
            data_bytes: u32::from_le_bytes(take(&mut rest)?),
            count: u32::from_le_bytes(take(&mut rest)?),
            boot: Boot::of(take(&mut rest)?),
            first: u64::from_le_bytes(take(&mut rest)?),
            last: u64::from_le_bytes(take(&mut rest)?),
            from_time: u64::from_le_bytes(take(&mut rest)?),
            to_time: u64::from_le_bytes(take(&mut rest)?),
        });
    }
    Some(entries)
}

/// How many bytes at the end of a segment are its seal, told by its last bytes.
pub(crate) fn seal_bytes(end: &[u8]) -> Option<u64> {
    let length = end.strip_suffix(&SEAL_MARK)?.last_chunk::<4>()?;
    Some(u64::from(u32::from_le_bytes(*length)) + HEADER_BYTES as u64)
}

/// The seal of `file` and its index; nothing when the segment is not complete or they are damaged.
pub(crate) fn index(file: &File) -> io::Result<Option<(Header, Vec<Entry>)>> {
    let length = file.metadata()?.len();
    let mut end = [0; SEAL_BYTES];
    let Some(at) = length.checked_sub(SEAL_BYTES as u64) else { return Ok(None) };
    file.read_exact_at(&mut end, at)?;
    let Some(bytes) = seal_bytes(&end).filter(|bytes| *bytes <= length) else { return Ok(None) };
    let Ok(size) = usize::try_from(bytes) else { return Ok(None) };
    let mut seal = vec![0; size];
    file.read_exact_at(&mut seal, length - bytes)?;
    Ok(parse_seal(&seal))
}

/// The parts of a seal that is whole.
pub(crate) fn parse_seal(seal: &[u8]) -> Option<(Header, Vec<Entry>)> {
    let header = Header::decode(seal).filter(|header| header.kind == Kind::Seal)?;
    let data = seal.get(HEADER_BYTES..)?;
    let whole = data.len() as u64 == u64::from(header.data_bytes) && crc32fast::hash(data) == header.data_crc;
    decode_index(data).filter(|_| whole).map(|entries| (header, entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_segments_have_a_number() {
        assert_eq!(number(OsStr::new(&name(7))), Some(7));
        assert_eq!(number(OsStr::new(&name(123_456_789))), Some(123_456_789));
        for other in ["7.jsonl.zst", "00000007.jsonl.zst.tmp", "00000007.jsonl", "x0000007.jsonl.zst", "lock"]
        {
            assert_eq!(number(OsStr::new(other)), None, "{other}");
        }
    }
}
