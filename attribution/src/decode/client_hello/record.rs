//! The first handshake message of a TLS record stream.

use super::Outcome;

/// Most bytes of the stream that are looked at for one ClientHello.
pub(super) const STREAM_LIMIT: usize = 16 * 1024;
/// Longest record fragment, in bytes (RFC 8446 section 5.1).
const FRAGMENT_LIMIT: usize = 1 << 14;
/// `handshake` (RFC 8446 section 5.1).
const CONTENT_HANDSHAKE: u8 = 22;
/// `client_hello` (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;
/// Message type and 24-bit length before a handshake message's body (RFC 8446 section 4).
const MESSAGE_HEADER_LEN: usize = 4;

/// The body of the ClientHello message, joined from the records that carry it (RFC 8446 section 5.1).
pub(super) fn first_handshake(stream: &[u8]) -> Outcome<Vec<u8>> {
    let mut rest = stream.get(..STREAM_LIMIT).unwrap_or(stream);
    let more = if rest.len() < STREAM_LIMIT { Outcome::Incomplete } else { Outcome::NoMatch };
    let mut message = Vec::new();
    loop {
        let len = match rest {
            [content, ..] if *content != CONTENT_HANDSHAKE => return Outcome::NoMatch,
            [_, major, ..] if *major != 3 => return Outcome::NoMatch,
            [_, _, minor, ..] if *minor > 4 => return Outcome::NoMatch,
            [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return more,
        };
        // A handshake fragment is never empty.
        if len == 0 || len > FRAGMENT_LIMIT {
            return Outcome::NoMatch;
        }
        let body = rest.get(5..).unwrap_or_default();
        message.extend_from_slice(body.get(..len).unwrap_or(body));
        match whole_message(&message) {
            Outcome::Incomplete => {}
            decided => return decided,
        }
        match body.get(len..) {
            Some(next) => rest = next,
            None => return more,
        }
    }
}

/// The body of the message that is a ClientHello.
pub(super) fn whole_message(message: &[u8]) -> Outcome<Vec<u8>> {
    let len = match message {
        [kind, ..] if *kind != CLIENT_HELLO => return Outcome::NoMatch,
        [_, a, b, c, ..] => u32::from_be_bytes([0, *a, *b, *c]) as usize,
        _ => return Outcome::Incomplete,
    };
    if len > STREAM_LIMIT - MESSAGE_HEADER_LEN {
        return Outcome::NoMatch;
    }
    match message.get(MESSAGE_HEADER_LEN..).and_then(|body| body.get(..len)) {
        Some(body) => Outcome::Match(body.to_vec()),
        None => Outcome::Incomplete,
    }
}
