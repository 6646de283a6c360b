//! Reads lines as this program writes them, several times faster than serde: fields in the order of the schema, no
//! spaces, nothing unknown. For any other line it answers nothing, and serde decides what the line is or what is wrong
//! with it; so it may refuse anything, but what it reads must be what serde reads.
//!
//! A value is read in place: what memory the old one has is used again.

use std::collections::BTreeMap;

use crate::time;
use crate::v1::{Record, record::Body};

include!(concat!(env!("OUT_DIR"), "/quick.rs"));

/// What is still to be read.
pub(crate) struct Input<'a> {
    rest: &'a str,
    /// Whether the object that is being read has another field.
    more: bool,
}

/// What can be read.
pub(crate) trait Value: Default {
    /// Becomes the value that comes next; nothing when there is none in the usual form.
    fn read(&mut self, input: &mut Input<'_>) -> Option<()>;

    /// Becomes what an absent value is.
    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Reads a line, with or without its end, in the place of `record`; nothing when it is not in the usual form, and then
/// the record holds a part of it.
pub(crate) fn read(line: &[u8], record: &mut Record) -> Option<()> {
    let text = std::str::from_utf8(line).ok()?;
    let mut input = Input { rest: text.strip_suffix('\n').unwrap_or(text), more: false };
    record.read(&mut input)?;
    input.rest.is_empty().then_some(())
}

impl<'a> Input<'a> {
    #[inline]
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn open(&mut self) -> Option<()> {
        self.eat("{").then_some(())?;
        self.more = !self.rest.starts_with('}');
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        (!self.more && self.eat("}")).then_some(())
    }

    /// Whether the next field is the one that `key` names, quotes and colon included.
    #[inline(always)]
    fn at(&mut self, key: &str) -> bool {
        self.more && self.eat(key)
    }

    /// Reads the field of this key, or clears it.
    #[inline(always)]
    fn field<T: Value>(&mut self, key: &str, value: &mut T) -> Option<()> {
        if !self.at(key) {
            value.clear();
            return Some(());
        }
        value.read(self)?;
        self.more = self.eat(",");
        Some(())
    }

    /// Reads a time, or sets none.
    #[inline(always)]
    fn time(&mut self, key: &str, value: &mut u64) -> Option<()> {
        if !self.at(key) {
            *value = 0;
            return Some(());
        }
        *value = time::quick(self.plain()?)?;
        self.more = self.eat(",");
        Some(())
    }

    /// A text without escapes.
    #[inline]
    fn plain(&mut self) -> Option<&'a str> {
        let text = self.rest.strip_prefix('"')?;
        let (text, rest) = text.split_at_checked(plain_bytes(text.as_bytes()))?;
        self.rest = rest.strip_prefix('"')?;
        Some(text)
    }

    /// A text with escapes: serde knows them all.
    #[cold]
    fn escaped(&mut self) -> Option<String> {
        let mut end = 1;
        loop {
            match self.rest.as_bytes().get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let (text, rest) = self.rest.split_at_checked(end + 1)?;
        let text = serde_json::from_str(text).ok()?;
        self.rest = rest;
        Some(text)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        let mut count = 0;
        for byte in self.rest.bytes().take_while(u8::is_ascii_digit) {
            value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
            count += 1;
        }
        // JSON has no leading zeros.
        let good = count == 1 || (count > 1 && !self.rest.starts_with('0'));
        self.rest = self.rest.get(count..)?;
        good.then_some(value)
    }

    /// Fields of `{}` or items of `[]`, one after the other.
    fn each(&mut self, ends: [&str; 2], mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if !self.eat(ends[0]) {
            return None;
        }
        loop {
            one(self)?;
            if !self.eat(",") {
                return self.eat(ends[1]).then_some(());
            }
        }
    }
}

impl Record {
    /// The body that comes next, if any.
    fn read_body(&mut self, input: &mut Input<'_>) -> Option<()> {
        macro_rules! bodies {
            ($($kind:ident $key:literal,)*) => {
                match self.body.take() {
                    $(body if input.at($key) => {
                        let mut value = match body {
                            Some(Body::$kind(value)) => value,
                            _ => Default::default(),
                        };
                        value.read(input)?;
                        input.more = input.eat(",");
                        self.body = Some(Body::$kind(value));
                    })*
                    _ => {}
                }
            };
        }
        bodies! {
            Flow "\"flow\":",
            ModelCall "\"model_call\":",
            CredentialAccess "\"credential_access\":",
            Session "\"session\":",
            Finding "\"finding\":",
            Status "\"status\":",
        }
        Some(())
    }
}

impl Value for String {
    #[inline]
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        self.clear();
        if let Some(text) = input.plain() {
            self.push_str(text);
        } else {
            *self = input.escaped()?;
        }
        Some(())
    }

    fn clear(&mut self) {
        String::clear(self);
    }
}

impl Value for u64 {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        *self = input.number()?;
        Some(())
    }
}

impl Value for u32 {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        *self = input.number()?.try_into().ok()?;
        Some(())
    }
}

impl Value for bool {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        *self = input.eat("true");
        (*self || input.eat("false")).then_some(())
    }
}

impl<T: Value> Value for Option<T> {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        self.get_or_insert_default().read(input)
    }
}

impl<T: Value> Value for Box<T> {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        T::read(self, input)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        let mut count = 0;
        input.each(["[", "]"], |input| {
            if self.len() == count {
                self.push(T::default());
            }
            self.get_mut(count)?.read(input)?;
            count += 1;
            Some(())
        })?;
        self.truncate(count);
        Some(())
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }
}

impl Value for BTreeMap<String, String> {
    fn read(&mut self, input: &mut Input<'_>) -> Option<()> {
        self.clear();
        input.each(["{", "}"], |input| {
            let (mut name, mut value) = (String::new(), String::new());
            name.read(input)?;
            input.eat(":").then_some(())?;
            value.read(input)?;
            self.insert(name, value);
            Some(())
        })
    }
}

/// How many bytes come before the first that ends a text or stands for another, eight at a time.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*chunk);
        // The lowest of these bits is exact: Warren, Hacker's Delight, 6-1.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = is(b'"') | is(b'\\') | below(word, 0x20);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    at + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
