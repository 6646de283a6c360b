//! Incremental JSON scanner (RFC 8259): keeps the scalars at a fixed list of pointers, and nothing else.
//!
//! Bytes come in any split. Strings nobody asked for are skipped with a vector search, so a large
//! prompt costs little and never leaves the caller's buffer. Documents that end early give what was
//! seen so far.

mod pointers;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use pointers::{Keep, MAX_POINTERS, PointerError, Pointers, PointersBuilder, Slot};

use pointers::NO_NODE;

/// Deepest nesting of objects and arrays that is followed, in levels.
pub const MAX_DEPTH: usize = 512;
/// Longest object key that can match a pointer, in bytes.
pub const MAX_KEY_BYTES: usize = 128;
/// Longest number, `true`, `false` or `null` that is kept, in bytes.
pub const MAX_WORD_BYTES: usize = 64;

/// A scalar found at a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// A string without its escapes; `cut` when it was longer than the limit of its pointer.
    Text {
        /// The unescaped text.
        text: String,
        /// Whether the end is missing.
        cut: bool,
    },
}

/// How far a document has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// More bytes are needed.
    Reading,
    /// The top-level value has ended.
    Complete,
    /// Not JSON, or deeper than [`MAX_DEPTH`]; nothing more is read.
    Invalid,
}

/// Reads one document at a time; see the module text.
#[derive(Debug, Clone)]
pub struct Scanner {
    pointers: Arc<Pointers>,
    found: Vec<Option<Scalar>>,
    frames: Vec<Frame>,
    expect: Expect,
    token: Token,
    /// Pointer node of the value that comes next.
    node: u16,
    /// Bytes of the token being kept, escapes included.
    raw: Vec<u8>,
    /// Whether `raw` lacks bytes of its token.
    cut: bool,
    started: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    object: bool,
    node: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Complete,
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    /// In a string; `limit` bytes are kept (0: skip), `escape` after a backslash.
    String {
        key: bool,
        limit: usize,
        escape: bool,
    },
    /// In a number or literal.
    Word {
        keep: bool,
    },
}

impl Scanner {
    /// A scanner for the values at `pointers`.
    pub fn new(pointers: Arc<Pointers>) -> Self {
        let slots = pointers.slots();
        Self {
            pointers,
            found: vec![None; slots],
            frames: Vec::new(),
            expect: Expect::Value,
            token: Token::None,
            node: pointers::ROOT,
            raw: Vec::new(),
            cut: false,
            started: false,
        }
    }

    /// Forgets the document and its values, ready for the next one.
    pub fn reset(&mut self) {
        self.found.fill(None);
        self.frames.clear();
        self.expect = Expect::Value;
        self.token = Token::None;
        self.node = pointers::ROOT;
        self.raw.clear();
        self.started = false;
    }

    /// How far the current document has been read.
    pub fn state(&self) -> State {
        match self.expect {
            Expect::Complete => State::Complete,
            Expect::Invalid => State::Invalid,
            _ => State::Reading,
        }
    }

    /// Whether a byte other than white space of the current document was seen.
    pub fn started(&self) -> bool {
        self.started
    }

    /// The value at the pointer of `slot`, when seen.
    pub fn get(&self, slot: Slot) -> Option<&Scalar> {
        self.found.get(slot.index())?.as_ref()
    }

    /// The text at the pointer of `slot`, when it is a whole string.
    pub fn text(&self, slot: Slot) -> Option<&str> {
        match self.get(slot)? {
            Scalar::Text { text, cut: false } => Some(text),
            _ => None,
        }
    }

    /// Says that no more bytes come: a number at the top level ends here.
    pub fn finish(&mut self) -> State {
        if let (Token::Word { keep }, true) = (self.token, self.frames.is_empty()) {
            self.end_word(keep);
        }
        self.state()
    }

    /// Reads `input` and returns how many bytes were used: all of them, but for what follows the end of the
    /// document or the place where it stops being JSON.
    pub fn push(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while at < input.len() && self.state() == State::Reading {
            let rest = input.get(at..).unwrap_or_default();
            at += match self.token {
                Token::None => self.structure(rest),
                Token::String { key, limit, escape } => self.string(rest, key, limit, escape),
                Token::Word { keep } => self.word(rest, keep),
            };
        }
        at
    }

    /// Reads white space and one structural byte or the start of a token.
    fn structure(&mut self, input: &[u8]) -> usize {
        let Some(space) = input.iter().position(|byte| !byte.is_ascii_whitespace()) else {
            return input.len();
        };
        self.started = true;
        let byte = input.get(space).copied().unwrap_or_default();
        let mut used = space + 1;
        match (self.expect, byte) {
            (Expect::ValueOrEnd, b']') | (Expect::KeyOrEnd, b'}') => self.close(),
            (Expect::CommaOrEnd, b'}' | b']') => {
                if self.frames.last().is_some_and(|frame| frame.object == (byte == b'}')) {
                    self.close();
                } else {
                    self.expect = Expect::Invalid;
                }
            }
            (Expect::CommaOrEnd, b',') => self.next_member(),
            (Expect::Colon, b':') => self.expect = Expect::Value,
            (Expect::Key | Expect::KeyOrEnd, b'"') => {
                let alive = self.frames.last().is_some_and(|frame| self.pointers.has_keys(frame.node));
                self.start_string(true, if alive { MAX_KEY_BYTES } else { 0 });
            }
            (Expect::Value | Expect::ValueOrEnd, b'"') => {
                let limit = self.wanted().map_or(0, |slot| self.pointers.limit(slot));
                self.start_string(false, limit);
            }
            (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => self.open(byte == b'{'),
            (Expect::Value | Expect::ValueOrEnd, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.raw.clear();
                self.cut = false;
                self.token = Token::Word { keep: self.wanted().is_some() };
                used = space;
            }
            _ => {
                self.expect = Expect::Invalid;
                used = space;
            }
        }
        used
    }

    fn string(&mut self, input: &[u8], key: bool, limit: usize, escape: bool) -> usize {
        if escape {
            self.keep(input.get(..1).unwrap_or_default(), limit);
            self.token = Token::String { key, limit, escape: false };
            return 1;
        }
        let end = memchr::memchr2(b'"', b'\\', input).unwrap_or(input.len());
        self.keep(input.get(..end).unwrap_or_default(), limit);
        match input.get(end) {
            Some(b'"') => self.end_string(key, limit),
            Some(_) => {
                self.keep(b"\\", limit);
                self.token = Token::String { key, limit, escape: true };
            }
            None => return end,
        }
        end + 1
    }

    fn word(&mut self, input: &[u8], keep: bool) -> usize {
        let end = input
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}'))
            .unwrap_or(input.len());
        // The first bytes tell a literal from a number; the rest only matters when it is wanted.
        self.keep(input.get(..end).unwrap_or_default(), MAX_WORD_BYTES);
        if end < input.len() {
            self.end_word(keep);
        }
        end
    }

    fn keep(&mut self, bytes: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.raw.len());
        self.cut |= bytes.len() > room;
        self.raw.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    fn start_string(&mut self, key: bool, limit: usize) {
        self.raw.clear();
        self.cut = false;
        self.token = Token::String { key, limit, escape: false };
    }

    fn end_string(&mut self, key: bool, limit: usize) {
        self.token = Token::None;
        if key {
            let node = self.frames.last().map_or(NO_NODE, |frame| frame.node);
            self.node = if limit == 0 || self.cut {
                NO_NODE
            } else if self.raw.contains(&b'\\') {
                self.pointers.child(node, text::unescape(&self.raw).as_bytes())
            } else {
                self.pointers.child(node, &self.raw)
            };
            self.expect = Expect::Colon;
            return;
        }
        if let Some(slot) = self.wanted() {
            self.store(slot, Scalar::Text { text: text::unescape(&self.raw), cut: self.cut });
        }
        self.end_value();
    }

    fn end_word(&mut self, keep: bool) {
        self.token = Token::None;
        let scalar = match self.raw.as_slice() {
            b"true" => Some(Scalar::Bool(true)),
            b"false" => Some(Scalar::Bool(false)),
            b"null" => None,
            number if !self.cut && text::is_number(number) => {
                Some(Scalar::Number(String::from_utf8_lossy(number).into_owned()))
            }
            _ if self.cut && self.raw.iter().all(|byte| b"+-.eE0123456789".contains(byte)) => None,
            _ => {
                self.expect = Expect::Invalid;
                return;
            }
        };
        if let (true, Some(slot), Some(scalar)) = (keep, self.wanted(), scalar) {
            self.store(slot, scalar);
        }
        self.end_value();
    }

    /// The slot of the value that comes next, when it is still to be kept.
    fn wanted(&self) -> Option<Slot> {
        let slot = self.pointers.slot(self.node)?;
        let first = self.pointers.keep(slot) == Keep::First;
        (!(first && self.get(slot).is_some())).then_some(slot)
    }

    fn store(&mut self, slot: Slot, scalar: Scalar) {
        if let Some(place) = self.found.get_mut(slot.index()) {
            *place = Some(scalar);
        }
    }

    fn open(&mut self, object: bool) {
        if self.frames.len() >= MAX_DEPTH {
            self.expect = Expect::Invalid;
            return;
        }
        let node = if object { self.node } else { self.pointers.element(self.node) };
        self.frames.push(Frame { object, node });
        self.node = node;
        self.expect = if object { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
    }

    fn close(&mut self) {
        self.frames.pop();
        self.end_value();
    }

    fn end_value(&mut self) {
        self.expect = if self.frames.is_empty() { Expect::Complete } else { Expect::CommaOrEnd };
    }

    fn next_member(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        self.node = frame.node;
        self.expect = if frame.object { Expect::Key } else { Expect::Value };
    }
}
