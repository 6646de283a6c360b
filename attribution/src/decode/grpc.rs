//! gRPC messages of one direction, and the protobuf fields in them.
//!
//! Framing: "gRPC over HTTP2", Length-Prefixed-Message: a compressed flag, four bytes of length, the message.
//! Fields: the protobuf encoding guide.

use zeroize::Zeroizing;

use super::content;
use super::wiped::append;

/// Longest message that is kept, in bytes, compressed or not; longer ones are passed over.
const MESSAGE_LIMIT: usize = 1 << 20;
/// Flag and length before a message, in bytes.
const PREFIX_LEN: usize = 5;

#[cfg(test)]
mod tests;

/// Joins the messages of one direction, in any split.
pub struct Messages {
    /// The part of a prefix, or of a message, that has come.
    kept: Zeroizing<Vec<u8>>,
    place: Place,
    encoding: String,
    skipped: u64,
}

#[derive(Clone, Copy)]
enum Place {
    Prefix,
    Message { left: usize, compressed: bool },
    Skipped { left: usize },
    Dead,
}

/// The value of a protobuf field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A variable-length or fixed-size number.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
}

impl Messages {
    /// From the first message; `encoding` is the `grpc-encoding` of this direction.
    pub fn new(encoding: &str) -> Self {
        Self { kept: Zeroizing::default(), place: Place::Prefix, encoding: encoding.to_owned(), skipped: 0 }
    }

    /// Messages that were too large, or could not be decompressed.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether no message is under way and none was malformed.
    pub fn at_boundary(&self) -> bool {
        matches!(self.place, Place::Prefix) && self.kept.is_empty()
    }

    /// Reads more of the direction; whole messages go to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = match self.place {
                Place::Dead => return,
                Place::Prefix => PREFIX_LEN - self.kept.len().min(PREFIX_LEN),
                Place::Message { left, .. } | Place::Skipped { left } => left,
            };
            let (now, later) = rest.split_at(wanted.min(rest.len()));
            rest = later;
            match &mut self.place {
                Place::Dead => return,
                Place::Skipped { left } => *left -= now.len(),
                Place::Message { left, .. } => {
                    *left -= now.len();
                    append(&mut self.kept, now);
                }
                Place::Prefix => {
                    append(&mut self.kept, now);
                    if let [flag, length @ ..] = self.kept.as_slice()
                        && let Some(length) = length.first_chunk::<4>()
                    {
                        self.place = self.begin(*flag, u32::from_be_bytes(*length) as usize);
                        self.kept = Zeroizing::default();
                    }
                }
            }
            self.finish(out);
        }
    }

    fn begin(&mut self, flag: u8, left: usize) -> Place {
        match flag {
            0 | 1 if left <= MESSAGE_LIMIT => Place::Message { left, compressed: flag == 1 },
            0 | 1 => {
                self.skipped += 1;
                Place::Skipped { left }
            }
            _ => Place::Dead,
        }
    }

    fn finish(&mut self, out: &mut dyn FnMut(&[u8])) {
        match self.place {
            Place::Message { left: 0, compressed } => {
                let message = std::mem::take(&mut self.kept);
                if !compressed {
                    out(&message);
                } else if let Some(plain) = inflated(&self.encoding, &message) {
                    out(&plain);
                } else {
                    self.skipped += 1;
                }
            }
            Place::Skipped { left: 0 } => {}
            _ => return,
        }
        self.place = Place::Prefix;
    }
}

fn inflated(encoding: &str, message: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(Vec::new());
    let mut take = |bytes: &[u8]| {
        let room = MESSAGE_LIMIT + 1 - plain.len().min(MESSAGE_LIMIT + 1);
        append(&mut plain, bytes.get(..room).unwrap_or(bytes));
    };
    let mut decoder = content::Decoder::new(encoding);
    decoder.push(message, &mut take).and_then(|()| decoder.finish(&mut take)).ok()?;
    (plain.len() <= MESSAGE_LIMIT).then_some(plain)
}

/// The last value at a path of field numbers; `None` when it is absent or the message is malformed before it.
pub fn field<'a>(message: &'a [u8], path: &[u32]) -> Option<Value<'a>> {
    let (wanted, below) = path.split_first()?;
    let mut found = None;
    let mut rest = message;
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut rest)?),
            1 => Value::Number(u64::from_le_bytes(*take(&mut rest, 8)?.first_chunk()?)),
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                Value::Bytes(take(&mut rest, len)?)
            }
            5 => Value::Number(u32::from_le_bytes(*take(&mut rest, 4)?.first_chunk()?).into()),
            _ => return None,
        };
        if tag >> 3 == u64::from(*wanted) {
            found = Some(value);
        }
    }
    match (found?, below) {
        (value, []) => Some(value),
        (Value::Bytes(inner), below) => field(inner, below),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (now, later) = rest.split_at_checked(len)?;
    *rest = later;
    Some(now)
}

/// At most ten bytes, seven bits each, low ones first.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, later) = rest.split_first()?;
        *rest = later;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
