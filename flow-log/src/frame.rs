//! One batch of records: a skippable header frame, then a zstd frame. Pure encoding and decoding.
//!
//! The header is little-endian and has a fixed size; its last four bytes are the CRC-32 of all before them. The
//! hash covers the header up to and with the hash before it, and the data: whoever changes a record has to
//! change every hash after it, and with a key cannot.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Magic number of the header, one of the sixteen that RFC 8878 3.1.2 leaves to users.
const HEADER_MAGIC: u32 = 0x184D_2A5B;
/// Magic number of a segment's index.
pub(crate) const INDEX_MAGIC: u32 = 0x184D_2A5C;
/// What every header's content begins with; the digit is the version of the format.
const MARK: [u8; 8] = *b"kwflow1\n";
/// Magic number and length of a skippable frame.
pub(crate) const SKIPPABLE_BYTES: usize = 8;
/// What a header begins with, the same in all.
pub(crate) const PREFIX_BYTES: usize = SKIPPABLE_BYTES + MARK.len();
/// All of a header.
pub const HEADER_BYTES: usize = PREFIX_BYTES + 160;
/// Where the hash stands; what is before it is hashed.
const HASH_AT: usize = HEADER_BYTES - CRC_BYTES - HASH_BYTES;
const CRC_BYTES: usize = 4;
const HASH_BYTES: usize = 32;
/// Largest zstd frame or index, in bytes.
pub const MAX_DATA_BYTES: u32 = 64 * 1024 * 1024;
/// Largest batch, uncompressed, in bytes.
pub const MAX_RAW_BYTES: u32 = 32 * 1024 * 1024;

/// The hash of a frame.
pub type Hash = [u8; HASH_BYTES];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Batch,
    /// A writer began; its first number is `first`.
    Start,
    /// The writer stopped in order; nothing follows but a new start.
    End,
    /// The segment is complete; its data is the index.
    Seal,
}

/// A boot of a host; zeros when it is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Boot([u8; 16]);

/// What stands before the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Whether the hashes are keyed.
    pub keyed: bool,
    /// Records in it.
    pub count: u32,
    /// Number of the segment, as in its name.
    pub segment: u64,
    /// Records in the segment before this frame.
    pub before: u64,
    /// Boot of the records.
    pub boot: Boot,
    /// First sequence number; all up to `last` are in the frame.
    pub first: u64,
    /// Last sequence number.
    pub last: u64,
    /// Numbers up to this one may be in use when the writer is killed.
    pub reserved: u64,
    /// Least record time, nanoseconds since the epoch.
    pub from_time: u64,
    /// Greatest record time.
    pub to_time: u64,
    /// Length of the data that follows.
    pub data_bytes: u32,
    /// Length of the records, uncompressed.
    pub raw_bytes: u32,
    /// CRC-32 of the data.
    pub data_crc: u32,
    /// Hash of the frame before this one, in this segment or the one before.
    pub previous: Hash,
    /// Hash of this one.
    pub hash: Hash,
}

/// Key of the hashes; wiped when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Takes a copy of the key.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Boot {
    /// The boot of this id, a UUID as in `/proc/sys/kernel/random/boot_id`; anything else is unknown.
    pub fn parse(text: &str) -> Self {
        let digits: Vec<u8> = text.chars().filter(|c| *c != '-').map_while(nibble).collect();
        let mut bytes = [0; 16];
        if digits.len() != 32 || text.len() != 36 {
            return Self::default();
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |value, digit| value << 4 | digit);
        }
        Self(bytes)
    }

    pub(crate) fn of(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0
    }
}

fn nibble(digit: char) -> Option<u8> {
    digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        for (at, byte) in self.0.iter().enumerate() {
            let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl Header {
    /// Of an empty frame, not hashed yet.
    pub(crate) fn new(kind: Kind, segment: u64, before: u64, boot: Boot, previous: Hash) -> Self {
        Self {
            kind,
            keyed: false,
            count: 0,
            segment,
            before,
            boot,
            first: 0,
            last: 0,
            reserved: 0,
            from_time: 0,
            to_time: 0,
            data_bytes: 0,
            raw_bytes: 0,
            data_crc: 0,
            previous,
            hash: Hash::default(),
        }
    }

    /// Fills in what follows from the data, and hashes.
    pub fn finish(&mut self, data: &[u8], key: Option<&Key>) {
        self.keyed = key.is_some();
        self.data_bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        self.data_crc = crc32fast::hash(data);
        self.hash = self.expected_hash(data, key);
    }

    /// The hash this header should have with `data` under `key`.
    pub fn expected_hash(&self, data: &[u8], key: Option<&Key>) -> Hash {
        let bytes = self.encode();
        let hashed = bytes.get(..HASH_AT).unwrap_or_default();
        let mac = key.and_then(|key| Hmac::<Sha256>::new_from_slice(&*key.0).ok());
        match mac {
            Some(mac) => mac.chain_update(hashed).chain_update(data).finalize().into_bytes().into(),
            None => Sha256::new().chain_update(hashed).chain_update(data).finalize().into(),
        }
    }

    /// As it stands in the file.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&prefix());
        let kind = match self.kind {
            Kind::Batch => 1,
            Kind::End => 2,
            Kind::Seal => 3,
            Kind::Start => 4,
        };
        out.extend_from_slice(&[kind, u8::from(self.keyed), 0, 0]);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.before.to_le_bytes());
        out.extend_from_slice(&self.boot.0);
        for number in [self.first, self.last, self.reserved, self.from_time, self.to_time] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.data_bytes, self.raw_bytes, self.data_crc] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        let mut bytes = [0; HEADER_BYTES];
        bytes.iter_mut().zip(out).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The header that `bytes` begin with; nothing when they are damaged or of a version that is not known.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.get(..HEADER_BYTES)?.split_last_chunk::<CRC_BYTES>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut rest = content.strip_prefix(&prefix())?;
        let [kind, keyed, _, _] = take::<4>(&mut rest)?;
        let header = Self {
            kind: match kind {
                1 => Kind::Batch,
                2 => Kind::End,
                3 => Kind::Seal,
                4 => Kind::Start,
                _ => return None,
            },
            keyed: keyed != 0,
            count: u32::from_le_bytes(take(&mut rest)?),
            segment: u64::from_le_bytes(take(&mut rest)?),
            before: u64::from_le_bytes(take(&mut rest)?),
            boot: Boot(take(&mut rest)?),
            first: u64::from_le_bytes(take(&mut rest)?),
            last: u64::from_le_bytes(take(&mut rest)?),
            reserved: u64::from_le_bytes(take(&mut rest)?),
            from_time: u64::from_le_bytes(take(&mut rest)?),
            to_time: u64::from_le_bytes(take(&mut rest)?),
            data_bytes: u32::from_le_bytes(take(&mut rest)?),
            raw_bytes: u32::from_le_bytes(take(&mut rest)?),
            data_crc: u32::from_le_bytes(take(&mut rest)?),
            previous: take(&mut rest)?,
            hash: take(&mut rest)?,
        };
        let sane = header.data_bytes <= MAX_DATA_BYTES && header.raw_bytes <= MAX_RAW_BYTES;
        sane.then_some(header)
    }

    /// All of the frame.
    pub fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.data_bytes)
    }

    /// The records of the frame, uncompressed.
    pub(crate) fn unpack(&self, data: &[u8]) -> Result<Vec<u8>, &'static str> {
        let size = usize::try_from(self.raw_bytes).map_err(|_| "too large for this machine")?;
        let raw = zstd::bulk::decompress(data, size).map_err(|_| "does not decompress")?;
        if raw.len() != size || raw.last().is_some_and(|byte| *byte != b'\n') {
            return Err("has another length than its header says");
        }
        Ok(raw)
    }
}

/// What all headers begin with.
pub(crate) fn prefix() -> [u8; PREFIX_BYTES] {
    let length = u32::try_from(HEADER_BYTES - SKIPPABLE_BYTES).unwrap_or_default();
    let mut bytes = [0; PREFIX_BYTES];
    let parts = HEADER_MAGIC.to_le_bytes().into_iter().chain(length.to_le_bytes()).chain(MARK);
    bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    bytes
}

/// The next `N` bytes.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}
