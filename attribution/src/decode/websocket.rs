//! WebSocket messages of one direction (RFC 6455 section 5), with permessage-deflate (RFC 7692).

use zeroize::Zeroizing;

use super::content::ContentError;
use super::content::deflate::Inflate;
use super::content::guard::Guard;

/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
const CONTROL_LIMIT: u64 = 125;
/// Bytes unmasked at a time; a multiple of the mask's length.
const UNMASKED: usize = 4096;
/// What a sender leaves off the end of a compressed message (RFC 7692 section 7.2.1).
const DEFLATE_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
const CORRUPT: ContentError = ContentError::Corrupt { what: "permessage-deflate" };

#[cfg(test)]
mod tests;

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Some of a message, unmasked and inflated; never empty.
    Data(&'a [u8]),
    /// The message is over.
    End {
        /// It is text, not binary.
        text: bool,
        /// All of it was handed on.
        whole: bool,
    },
    /// The sender closes the connection.
    Close,
}

/// How the two sides agreed to compress (RFC 7692 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// Every message of the client is compressed on its own.
    pub client_alone: bool,
    /// Every message of the server is compressed on its own.
    pub server_alone: bool,
}

impl Deflate {
    /// What the `Sec-WebSocket-Extensions` of a response agree to; `None` when not to compress.
    pub fn agreed(extensions: &str) -> Option<Self> {
        let mut offers = extensions.split(',').map(|offer| offer.split(';').map(str::trim));
        let parameters =
            offers.find_map(|mut words| (words.next() == Some("permessage-deflate")).then_some(words))?;
        let mut agreed = Self { client_alone: false, server_alone: false };
        for word in parameters {
            match word.split('=').next() {
                Some("client_no_context_takeover") => agreed.client_alone = true,
                Some("server_no_context_takeover") => agreed.server_alone = true,
                _ => {}
            }
        }
        Some(agreed)
    }
}

/// What the next byte is.
enum Place {
    /// Of a frame header.
    Header,
    /// Of a payload.
    Payload { left: u64, mask: [u8; 4], at: usize, control: bool, last: bool },
    /// Nothing that can be told.
    Dead,
}

/// The message under way.
struct Message {
    text: bool,
    compressed: bool,
    whole: bool,
    guard: Guard,
}

/// Reads one direction in any split.
pub struct Decoder {
    place: Place,
    header: Vec<u8>,
    message: Option<Message>,
    /// `Some` once a compressed message came.
    inflate: Option<Inflate>,
    compresses: bool,
    /// Each message is compressed on its own.
    alone: bool,
    /// A part of the compressed stream is missing: what follows cannot be inflated.
    torn: bool,
}

impl Decoder {
    /// From the first frame. `alone`: whether messages are compressed, and if so each on its own.
    pub fn new(alone: Option<bool>) -> Self {
        Self {
            place: Place::Header,
            header: Vec::new(),
            message: None,
            inflate: None,
            compresses: alone.is_some(),
            alone: alone.unwrap_or(true),
            torn: false,
        }
    }

    /// Whether nothing more can be read: a frame was malformed, or its header was not captured.
    pub fn is_dead(&self) -> bool {
        matches!(self.place, Place::Dead)
    }

    /// Reads more of the direction.
    pub fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Part<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match &mut self.place {
                Place::Dead => return,
                Place::Header => self.header_byte(rest.first().copied().unwrap_or_default(), out),
                Place::Payload { left, mask, at, control, .. } => {
                    let now = rest.get(..usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len()));
                    let now = now.unwrap_or_default();
                    let (mask, start, control) = (*mask, *at, *control);
                    *left -= now.len() as u64;
                    *at = (start + now.len()) % 4;
                    if !control {
                        self.data(now, mask, start, out);
                    }
                    now.len()
                }
            };
            rest = rest.get(used..).unwrap_or_default();
            self.end_frame(out);
        }
    }

    /// Passes over `n` bytes that were not captured, when they cannot have held a frame header.
    pub fn gap(&mut self, n: u64, out: &mut dyn FnMut(Part<'_>)) {
        match &mut self.place {
            _ if n == 0 => return,
            Place::Payload { left, at, control, .. } if n <= *left => {
                *left -= n;
                *at = (*at + (n % 4) as usize) % 4;
                if let Some(message) = self.message.as_mut().filter(|_| !*control) {
                    message.whole = false;
                    self.torn |= message.compressed && !self.alone;
                }
            }
            _ => self.place = Place::Dead,
        }
        self.end_frame(out);
    }

    /// Takes a byte of a frame header; says how many bytes were used.
    fn header_byte(&mut self, byte: u8, out: &mut dyn FnMut(Part<'_>)) -> usize {
        self.header.push(byte);
        let &[first, second, ref more @ ..] = self.header.as_slice() else { return 1 };
        let masked = second & 0x80 != 0;
        let length_len = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if more.len() < length_len + if masked { 4 } else { 0 } {
            return 1;
        }
        let (length, mask) = more.split_at_checked(length_len).unwrap_or_default();
        let left = match length_len {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        };
        let mask = mask.first_chunk::<4>().copied().unwrap_or_default();
        self.header.clear();
        self.place = match self.begin(first, left, mask, out) {
            Some(place) => place,
            None => Place::Dead,
        };
        1
    }

    fn begin(&mut self, first: u8, left: u64, mask: [u8; 4], out: &mut dyn FnMut(Part<'_>)) -> Option<Place> {
        let (last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        let control = opcode >= 8;
        match opcode {
            1 | 2 if self.message.is_none() => {
                let compressed = reserved == 0x40 && self.compresses;
                if reserved != 0 && !compressed {
                    return None;
                }
                let whole = !(compressed && self.torn);
                self.message = Some(Message { text: opcode == 1, compressed, whole, guard: Guard::new() });
            }
            0 if self.message.is_some() && reserved == 0 => {}
            8..=10 if last && reserved == 0 && left <= CONTROL_LIMIT => {
                if opcode == 8 {
                    out(Part::Close);
                }
            }
            _ => return None,
        }
        Some(Place::Payload { left, mask, at: 0, control, last })
    }

    fn data(&mut self, masked: &[u8], mask: [u8; 4], at: usize, out: &mut dyn FnMut(Part<'_>)) {
        let Some(message) = self.message.as_mut().filter(|message| message.whole) else { return };
        let mut plain = Zeroizing::new([0; UNMASKED]);
        for (index, piece) in masked.chunks(plain.len()).enumerate() {
            let start = at + index * plain.len();
            for (offset, (to, from)) in plain.iter_mut().zip(piece).enumerate() {
                *to = from ^ mask.get((start + offset) % 4).copied().unwrap_or_default();
            }
            let piece = plain.get(..piece.len()).unwrap_or_default();
            if message.compressed {
                message.whole = inflate(&mut self.inflate, &mut message.guard, piece, out).is_ok();
                if !message.whole {
                    self.torn |= !self.alone;
                    return;
                }
            } else {
                out(Part::Data(piece));
            }
        }
    }

    /// Leaves a frame that is over, and with its last one the message.
    fn end_frame(&mut self, out: &mut dyn FnMut(Part<'_>)) {
        let Place::Payload { left: 0, control, last, .. } = self.place else { return };
        self.place = Place::Header;
        if control || !last {
            return;
        }
        let Some(mut message) = self.message.take() else { return };
        if message.compressed && message.whole {
            message.whole = inflate(&mut self.inflate, &mut message.guard, &DEFLATE_TAIL, out).is_ok();
            self.torn |= !message.whole && !self.alone;
        }
        let ended = self.inflate.as_ref().is_some_and(|inflate| inflate.ended);
        if self.alone || ended {
            self.inflate = None;
        }
        out(Part::End { text: message.text, whole: message.whole });
    }
}

fn inflate(
    stream: &mut Option<Inflate>,
    guard: &mut Guard,
    bytes: &[u8],
    out: &mut dyn FnMut(Part<'_>),
) -> Result<(), ContentError> {
    guard.took(bytes.len());
    let stream = stream.get_or_insert_with(|| Inflate::new(false));
    let mut give = |plain: &[u8]| {
        guard.gave(plain.len())?;
        if !plain.is_empty() {
            out(Part::Data(plain));
        }
        Ok(())
    };
    stream.push(bytes, &mut give, CORRUPT).map(|_| ())
}
