//! Header blocks of one direction (RFC 9113 section 4.3, RFC 7541).

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::frames::{Header, flag, kind};
use crate::decode::http::BrokenReason;
use crate::decode::wiped::append;

/// Longest header block, in bytes as sent.
pub(super) const BLOCK_LIMIT: usize = 32 * 1024;
/// Longest list of fields, in bytes as RFC 9113 section 6.5.2 counts them: a short block can name long fields.
const LIST_LIMIT: usize = 64 * 1024;
/// Most fields in one block.
pub(super) const FIELD_LIMIT: usize = 256;
/// What RFC 7541 section 4.1 adds to the length of each field, in bytes.
const FIELD_OVERHEAD: usize = 32;
/// Largest dynamic table that an encoder may choose, in bytes. Which one was agreed on is not looked at: an
/// encoder that uses a larger table than the default says so in its next block (RFC 7541 section 4.2).
const TABLE_LIMIT: usize = 64 * 1024;
/// Table of a connection joined in its middle, in bytes.
const JOINED_TABLE: usize = 16 * 1024;
/// Name of an entry that was sent before the connection was joined.
const UNKNOWN: &[u8] = b"?";
/// A field with that name and no value, added to the table (RFC 7541 section 6.2.1).
const UNKNOWN_FIELD: [u8; 4] = [0x40, 1, b'?', 0];

/// A whole block, decoded.
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    /// It belongs to a stream that the server promises, which nobody asked for.
    pub(super) promised: bool,
    /// When its first frame began.
    pub(super) at_ns: u64,
    pub(super) fields: Fields,
}

/// Names and values, wiped when dropped.
#[derive(Default)]
pub(super) struct Fields {
    text: Zeroizing<Vec<u8>>,
    /// Start of a name, of its value, and the end of that.
    at: Vec<[usize; 3]>,
}

/// A block under way.
struct Open {
    stream: u32,
    end_stream: bool,
    promised: bool,
    at_ns: u64,
}

/// Blocks of one direction, with its dynamic table.
pub(super) struct HeaderBlocks {
    table: loona_hpack::Decoder<'static>,
    block: Zeroizing<Vec<u8>>,
    open: Option<Open>,
}

impl HeaderBlocks {
    /// From the first block of a connection.
    pub(super) fn new() -> Self {
        let mut table = loona_hpack::Decoder::new();
        table.set_max_allowed_table_size(TABLE_LIMIT);
        Self { table, block: Zeroizing::default(), open: None }
    }

    /// From the middle of a connection. Indices count from the newest entry, so those added from now on are
    /// found below as many unknown ones as the table can hold; a table that is in truth smaller only has
    /// entries here that nobody names.
    pub(super) fn joined() -> Self {
        let mut blocks = Self::new();
        blocks.table.set_max_table_size(JOINED_TABLE);
        let entries = JOINED_TABLE / (UNKNOWN.len() + FIELD_OVERHEAD);
        let _ = blocks.table.decode_with_cb(&UNKNOWN_FIELD.repeat(entries), |_, _| {});
        blocks
    }

    /// Whether a block is under way: only its continuation may follow (RFC 9113 section 6.10).
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes a HEADERS, PUSH_PROMISE or CONTINUATION frame; gives the block when it is whole.
    pub(super) fn frame(
        &mut self,
        header: Header,
        payload: &[u8],
        at_ns: u64,
    ) -> Result<Option<Block>, BrokenReason> {
        let stream = header.stream;
        let fragment = match (&self.open, header.kind) {
            (Some(open), kind::CONTINUATION) if open.stream == stream => payload,
            (None, kind::HEADERS | kind::PUSH_PROMISE) => {
                let promised = header.kind == kind::PUSH_PROMISE;
                let end_stream = !promised && header.has(flag::END_STREAM);
                self.open = Some(Open { stream, end_stream, promised, at_ns });
                fragment(header, payload).ok_or(BrokenReason::BadFrame)?
            }
            _ => return Err(BrokenReason::BadFrame),
        };
        self.append(fragment)?;
        if !header.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let Some(Open { stream, end_stream, promised, at_ns }) = self.open.take() else { return Ok(None) };
        let block = std::mem::take(&mut self.block);
        let fields = self.decode(&block)?;
        Ok(Some(Block { stream, end_stream, promised, at_ns, fields }))
    }

    fn append(&mut self, fragment: &[u8]) -> Result<(), BrokenReason> {
        if self.block.len() + fragment.len() > BLOCK_LIMIT {
            return Err(BrokenReason::HeadTooLarge);
        }
        append(&mut self.block, fragment);
        Ok(())
    }

    fn decode(&mut self, block: &[u8]) -> Result<Fields, BrokenReason> {
        let mut fields = Fields::default();
        let mut size = 0usize;
        let add = |name: Cow<'_, [u8]>, value: Cow<'_, [u8]>| {
            size = size.saturating_add(name.len() + value.len() + FIELD_OVERHEAD);
            if size <= LIST_LIMIT && name != UNKNOWN {
                fields.push(&name, &value);
            }
        };
        self.table.decode_with_cb(block, add).map_err(|_| BrokenReason::BadHeaders)?;
        if size > LIST_LIMIT || fields.at.len() > FIELD_LIMIT {
            return Err(BrokenReason::HeadTooLarge);
        }
        Ok(fields)
    }
}

impl Fields {
    fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        append(&mut self.text, name);
        append(&mut self.text, value);
        self.at.push([start, start + name.len(), self.text.len()]);
    }

    /// Every field with a name that is text, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.at.iter().filter_map(|&[start, middle, end]| {
            let name = str::from_utf8(self.text.get(start..middle)?).ok()?;
            Some((name, self.text.get(middle..end)?))
        })
    }

    /// Value of the first field of this name, when it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.iter().find(|(other, _)| *other == name)?;
        str::from_utf8(value).ok()
    }
}

/// The part of a frame that is header block: without padding, priority and promised stream (RFC 9113 sections
/// 6.2 and 6.6).
fn fragment(header: Header, payload: &[u8]) -> Option<&[u8]> {
    let (padding, rest) = match header.has(flag::PADDED) {
        true => payload.split_first().map(|(padding, rest)| (usize::from(*padding), rest))?,
        false => (0, payload),
    };
    let before = match header.kind {
        kind::PUSH_PROMISE => 4,
        _ if header.has(flag::PRIORITY) => 5,
        _ => 0,
    };
    rest.get(before..rest.len().checked_sub(padding)?)
}
