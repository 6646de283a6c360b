//! Incremental decoder of `application/vnd.amazon.eventstream`, the framing of AWS response streams.
//!
//! A message is: total length (u32), headers length (u32), CRC-32 of these 8 bytes, headers, payload,
//! CRC-32 of everything before it; all big-endian (AWS SDK documentation, "event stream encoding").

#[cfg(test)]
pub(crate) mod tests;

/// Largest message that is decoded, in bytes; a larger one is skipped and counted.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Most headers of one message that are looked at.
pub const MAX_HEADERS: usize = 32;

const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;

/// One decoded message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// `:message-type`: `event`, `exception` or `error`.
    pub message_type: String,
    /// `:event-type`, or `:exception-type` of an exception.
    pub event_type: String,
    /// `:content-type` of the payload.
    pub content_type: String,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What could not be decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Messages larger than [`MAX_MESSAGE_BYTES`].
    pub too_large: u64,
    /// Messages whose checksum or headers are wrong.
    pub damaged: u64,
}

/// Turns bytes in any split into messages.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of a too large message still to be thrown away.
    discard: usize,
    broken: bool,
    skipped: Skipped,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was skipped so far.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Whether the framing was lost: nothing more will be decoded.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// Whether the bytes so far end between two messages.
    pub fn at_boundary(&self) -> bool {
        !self.broken && self.discard == 0 && self.buffer.is_empty()
    }

    /// Reads `input` and hands every message that it completes to `each`.
    pub fn push(&mut self, mut input: &[u8], mut each: impl FnMut(Message)) {
        while !self.broken && !input.is_empty() {
            if self.discard > 0 {
                let step = self.discard.min(input.len());
                self.discard -= step;
                input = input.get(step..).unwrap_or_default();
                continue;
            }
            let target = if self.buffer.len() < PRELUDE_BYTES { PRELUDE_BYTES } else { self.total() };
            let step = target.saturating_sub(self.buffer.len()).min(input.len());
            let (now, later) = input.split_at(step);
            self.buffer.extend_from_slice(now);
            input = later;
            if self.buffer.len() == PRELUDE_BYTES {
                self.check_prelude();
            } else if self.buffer.len() == target && target > PRELUDE_BYTES {
                match decode(&self.buffer) {
                    Some(message) => each(message),
                    None => self.skipped.damaged += 1,
                }
                self.buffer.clear();
            }
        }
    }

    fn total(&self) -> usize {
        be32(&self.buffer, 0).unwrap_or(0)
    }

    /// Without a right prelude the start of the next message is unknown, so a wrong one ends the stream.
    fn check_prelude(&mut self) {
        let total = self.total();
        let headers = be32(&self.buffer, 4).unwrap_or(usize::MAX);
        let right = checksum_fits(&self.buffer)
            && headers.checked_add(PRELUDE_BYTES + CRC_BYTES).is_some_and(|least| least <= total);
        if !right {
            self.broken = true;
            self.skipped.damaged += 1;
            self.buffer.clear();
        } else if total > MAX_MESSAGE_BYTES {
            self.skipped.too_large += 1;
            self.discard = total - PRELUDE_BYTES;
            self.buffer.clear();
        }
    }
}

fn decode(message: &[u8]) -> Option<Message> {
    if !checksum_fits(message) {
        return None;
    }
    let headers_end = PRELUDE_BYTES.checked_add(be32(message, 4)?)?;
    let mut headers = message.get(PRELUDE_BYTES..headers_end)?;
    let payload = message.get(headers_end..message.len().checked_sub(CRC_BYTES)?)?;
    let mut out = Message { payload: payload.to_vec(), ..Message::default() };
    for _ in 0..MAX_HEADERS {
        if headers.is_empty() {
            return Some(out);
        }
        let (name, value) = header(&mut headers)?;
        let place = match name {
            b":message-type" => &mut out.message_type,
            b":event-type" | b":exception-type" => &mut out.event_type,
            b":content-type" => &mut out.content_type,
            _ => continue,
        };
        *place = String::from_utf8_lossy(value?).into_owned();
    }
    None
}

/// One header: its name, and its value when it is a string (type 7).
fn header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let length = usize::from(*take(rest, 1)?.first()?);
    let name = take(rest, length)?;
    let kind = *take(rest, 1)?.first()?;
    let size = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => match take(rest, 2)? {
            [high, low] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return None,
        },
        9 => 16,
        _ => return None,
    };
    let value = take(rest, size)?;
    Some((name, (kind == 7).then_some(value)))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (now, later) = rest.split_at_checked(count)?;
    *rest = later;
    Some(now)
}

/// Whether the last four bytes are the CRC-32 of what is before them.
fn checksum_fits(bytes: &[u8]) -> bool {
    let Some((body, _)) = bytes.len().checked_sub(CRC_BYTES).and_then(|at| bytes.split_at_checked(at)) else {
        return false;
    };
    be32(bytes, body.len()) == usize::try_from(crc32fast::hash(body)).ok()
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    let word: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(word)).ok()
}
