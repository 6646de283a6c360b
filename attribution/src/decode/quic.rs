//! The ClientHello in the first packets of a QUIC client (RFC 9000, 9001, 9369).
//!
//! Initial packets are encrypted with keys that anybody can make from the client's first packet: they protect
//! against change on the way, not against reading. Everything after them cannot be read here.

mod crypto;
#[cfg(test)]
pub(crate) mod tests;

use super::Outcome;
use super::client_hello::{ClientHello, client_hello_message};
use crypto::Keys;

/// Most bytes of a ClientHello that are joined.
const HELLO_LIMIT: usize = 16 * 1024;
/// Most packets looked at.
const PACKET_LIMIT: usize = 16;
/// Longest connection id, in bytes (RFC 9000 section 17.2).
const ID_LIMIT: usize = 20;
/// Sample of the ciphertext that header protection is made from, in bytes (RFC 9001 section 5.4.2).
const SAMPLE_LEN: usize = 16;
/// Ranges of one ACK frame that are passed over.
const RANGE_LIMIT: u64 = 256;

/// Frame types that a client's Initial packet may hold (RFC 9000 section 17.2.2).
mod frame {
    pub(super) const PADDING: u64 = 0;
    pub(super) const PING: u64 = 1;
    pub(super) const ACK: u64 = 2;
    pub(super) const ACK_ECN: u64 = 3;
    pub(super) const CRYPTO: u64 = 6;
}

/// A version of QUIC whose Initial packets can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// RFC 9000.
    One,
    /// RFC 9369.
    Two,
}

/// A long-header packet.
struct Packet<'a> {
    version: Version,
    initial: bool,
    destination: &'a [u8],
    /// All of it, from the first byte.
    bytes: &'a [u8],
    /// Where the packet number starts.
    number_at: usize,
}

/// Handshake bytes put in order: packets and frames come in any.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    have: Vec<bool>,
}

/// Reads the ClientHello at the start of what a client sent; `bytes` are its first datagrams, one after the other.
///
/// The answer is `Incomplete` until the whole hello is there, and `NoMatch` when the bytes are another protocol or
/// version, or the hello needs more than 16 KiB or 16 packets.
pub fn client_hello(bytes: &[u8]) -> Outcome<ClientHello> {
    let mut rest = bytes;
    let mut keys: Option<Keys> = None;
    let mut stream = Stream::default();
    for _ in 0..PACKET_LIMIT {
        // Zeroes fill a datagram up.
        while let Some((0, later)) = rest.split_first() {
            rest = later;
        }
        let packet = match packet(rest) {
            Outcome::Match(packet) => packet,
            Outcome::Incomplete => return Outcome::Incomplete,
            Outcome::NoMatch => return Outcome::NoMatch,
        };
        rest = rest.get(packet.bytes.len()..).unwrap_or_default();
        if !packet.initial {
            continue;
        }
        // After a Retry the client starts again under another id (RFC 9001 section 5.2).
        let opened = keys.as_ref().and_then(|keys| keys.open(packet.bytes, packet.number_at));
        let plain = match opened {
            Some(plain) => plain,
            None => {
                let own = Keys::of_client(packet.version, packet.destination);
                let Some(plain) = own.open(packet.bytes, packet.number_at) else { return Outcome::NoMatch };
                (keys, stream) = (Some(own), Stream::default());
                plain
            }
        };
        if stream.frames(&plain).is_none() {
            return Outcome::NoMatch;
        }
        match client_hello_message(stream.front(), 'q') {
            Outcome::Incomplete => {}
            decided => return decided,
        }
    }
    Outcome::NoMatch
}

/// The packet at the front of `bytes` (RFC 9000 section 17.2, RFC 9369 section 3.2).
fn packet(bytes: &[u8]) -> Outcome<Packet<'_>> {
    match bytes.first() {
        // Long header and fixed bit.
        Some(first) if first & 0xc0 != 0xc0 => return Outcome::NoMatch,
        _ => {}
    }
    let version = match bytes.get(1..5) {
        Some([0, 0, 0, 1]) => Version::One,
        Some([0x6b, 0x33, 0x43, 0xcf]) => Version::Two,
        Some(_) => return Outcome::NoMatch,
        None => return Outcome::Incomplete,
    };
    let mut at = 5;
    let mut id = || {
        let len = usize::from(*bytes.get(at)?);
        let id = bytes.get(at + 1..at + 1 + len.min(ID_LIMIT))?;
        at += 1 + len;
        Some((id, len <= ID_LIMIT))
    };
    let (Some((destination, short)), Some((_, other_short))) = (id(), id()) else {
        return Outcome::Incomplete;
    };
    if !short || !other_short {
        return Outcome::NoMatch;
    }
    let kind = bytes.first().map_or(0, |first| first >> 4 & 3);
    let (initial, retry) = match version {
        Version::One => (kind == 0, kind == 3),
        Version::Two => (kind == 1, kind == 0),
    };
    // Only servers send a Retry, and it has no length.
    if retry {
        return Outcome::NoMatch;
    }
    if initial {
        let Some((token, len)) = varint(bytes.get(at..).unwrap_or_default()) else {
            return Outcome::Incomplete;
        };
        let Some(next) =
            usize::try_from(token).ok().and_then(|token| at.checked_add(len)?.checked_add(token))
        else {
            return Outcome::NoMatch;
        };
        at = next;
    }
    let Some((length, len)) = bytes.get(at..).and_then(varint) else { return Outcome::Incomplete };
    let number_at = at + len;
    let end = usize::try_from(length).ok().and_then(|length| number_at.checked_add(length));
    let Some(end) = end.filter(|end| *end <= usize::from(u16::MAX)) else { return Outcome::NoMatch };
    match bytes.get(..end) {
        Some(bytes) => Outcome::Match(Packet { version, initial, destination, bytes, number_at }),
        None => Outcome::Incomplete,
    }
}

impl Stream {
    /// Takes the CRYPTO frames of a packet; `None` when its frames are malformed or too much.
    fn frames(&mut self, packet: &[u8]) -> Option<()> {
        let mut rest = packet;
        while !rest.is_empty() {
            let kind = number(&mut rest)?;
            match kind {
                frame::PADDING | frame::PING => {}
                frame::ACK | frame::ACK_ECN => {
                    number(&mut rest)?;
                    number(&mut rest)?;
                    let ranges = number(&mut rest)?;
                    // The first range, then pairs of gap and range; three counters with ECN.
                    let more = if kind == frame::ACK_ECN { 3 } else { 0 };
                    for _ in 0..1 + 2 * ranges.min(RANGE_LIMIT) + more {
                        number(&mut rest)?;
                    }
                }
                frame::CRYPTO => {
                    let offset = usize::try_from(number(&mut rest)?).ok()?;
                    let len = usize::try_from(number(&mut rest)?).ok()?;
                    let (data, later) = rest.split_at_checked(len)?;
                    self.put(offset, data)?;
                    rest = later;
                }
                // What follows, a close for one, tells nothing of the hello.
                _ => return Some(()),
            }
        }
        Some(())
    }

    fn put(&mut self, offset: usize, data: &[u8]) -> Option<()> {
        let end = offset.checked_add(data.len()).filter(|end| *end <= HELLO_LIMIT)?;
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
            self.have.resize(end, false);
        }
        self.bytes.get_mut(offset..end)?.copy_from_slice(data);
        self.have.get_mut(offset..end)?.fill(true);
        Some(())
    }

    /// The bytes without a hole before them.
    fn front(&self) -> &[u8] {
        let end = self.have.iter().position(|have| !have).unwrap_or(self.have.len());
        self.bytes.get(..end).unwrap_or_default()
    }
}

/// A variable-length integer and how long it is (RFC 9000 section 16).
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1 << (first >> 6);
    let more = bytes.get(1..len)?;
    Some((more.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)), len))
}

/// Takes a variable-length integer off the front.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let (value, len) = varint(rest)?;
    *rest = rest.get(len..)?;
    Some(value)
}
