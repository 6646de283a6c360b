//! What an HTTP connection tells, whatever its version.

#[cfg(test)]
pub(in crate::decode) mod seen;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Number of an exchange (one request and its response; in HTTP/2 a stream) on its connection, from 0.
pub type ExchangeId = u64;

/// The direction of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// From the client.
    Request,
    /// From the server.
    Response,
}

/// Why a direction, or an exchange, can no longer be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenReason {
    /// The bytes are not the start of an HTTP/1.x message.
    #[error("bytes are not the start of an http/1 message")]
    NotHttp,
    /// A head is longer, or has more fields, than is read.
    #[error("message head is too large")]
    HeadTooLarge,
    /// A head breaks the grammar of RFC 9112 sections 2 to 5.
    #[error("message head is malformed")]
    BadHead,
    /// The length of the body cannot be told (RFC 9112 section 6.3).
    #[error("message length is contradictory or malformed")]
    BadLength,
    /// A chunk breaks the grammar of RFC 9112 section 7.1.
    #[error("chunked body is malformed")]
    BadChunk,
    /// More requests wait for a response than are tracked.
    #[error("too many requests wait for a response")]
    TooManyPending,
    /// Bytes were lost where the position in the message depends on them.
    #[error("bytes needed to find the end of a message were not captured")]
    Gap,
    /// The connection closed before the message ended.
    #[error("connection closed inside a message")]
    Closed,
    /// A frame breaks the layout of RFC 9113 section 4 or 6.
    #[error("http/2 frame is malformed")]
    BadFrame,
    /// A header block cannot be decoded (RFC 7541).
    #[error("http/2 header block cannot be decoded")]
    BadHeaders,
    /// Bytes that may have held frame headers were not captured.
    #[error("http/2: lost its place: bytes between frames were not captured")]
    LostPlace,
    /// The stream was reset by either side (RFC 9113 section 6.4).
    #[error("http/2 stream was reset")]
    Reset,
    /// The server closed the connection before it took the stream (RFC 9113 section 6.8).
    #[error("http/2 stream was refused: the server is going away")]
    GoneAway,
    /// More streams are open than are tracked.
    #[error("too many http/2 streams are open")]
    TooManyStreams,
}

/// The fields of a head, in order, borrowed from it. In HTTP/2 the authority is here as `host`, and what a late
/// join left unknown is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a>(pub(in crate::decode) &'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// Every field as name and value, in the order sent; names keep their case.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.0.iter().map(|field| (field.name, field.value))
    }

    /// Values of every field of this name, whatever its case (RFC 9110 section 5.1).
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Value of the first field of this name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

/// One thing that happened on the connection. Times are the caller's `now_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A request head is whole.
    RequestHead {
        /// The exchange that starts here.
        id: ExchangeId,
        /// When the first byte of the head was seen, in nanoseconds.
        at_ns: u64,
        /// The method, as sent (RFC 9110 section 9).
        method: &'a str,
        /// The request target, as sent (RFC 9112 section 3.2). It can hold a key.
        target: &'a str,
        /// The fields. They can hold a key.
        headers: Headers<'a>,
    },
    /// Some of a request body, without chunk framing.
    RequestBody {
        /// The exchange.
        id: ExchangeId,
        /// The bytes, never empty.
        bytes: &'a [u8],
    },
    /// This many bytes of a request body exist but were not captured.
    RequestBodyGap {
        /// The exchange.
        id: ExchangeId,
        /// How many bytes, never 0.
        bytes: u64,
    },
    /// A request is whole.
    RequestEnd {
        /// The exchange.
        id: ExchangeId,
        /// When its last byte was seen, in nanoseconds.
        at_ns: u64,
    },
    /// A final response head is whole; also a 101. Other 1xx responses are not told (RFC 9110 section 15.2).
    ResponseHead {
        /// The exchange it answers.
        id: ExchangeId,
        /// When the first byte of the head was seen, in nanoseconds.
        at_ns: u64,
        /// The status code (RFC 9110 section 15).
        status: u16,
        /// The fields.
        headers: Headers<'a>,
    },
    /// Some of a response body, without chunk framing.
    ResponseBody {
        /// The exchange.
        id: ExchangeId,
        /// The bytes, never empty.
        bytes: &'a [u8],
    },
    /// This many bytes of a response body exist but were not captured.
    ResponseBodyGap {
        /// The exchange.
        id: ExchangeId,
        /// How many bytes, never 0.
        bytes: u64,
    },
    /// A response is whole, and with it the exchange.
    ResponseEnd {
        /// The exchange.
        id: ExchangeId,
        /// When its last byte was seen, in nanoseconds.
        at_ns: u64,
    },
    /// The exchange now carries something else: 101, or 2xx to CONNECT. What follows is told as its bodies.
    Upgraded {
        /// The exchange that asked for it.
        id: ExchangeId,
    },
    /// One direction of an exchange, or of the connection when `id` is absent, tells nothing more. The
    /// other direction goes on.
    Broken {
        /// The exchange, when one was under way.
        id: Option<ExchangeId>,
        /// The direction that is lost.
        side: Side,
        /// Why.
        reason: BrokenReason,
    },
}

impl<'a> Event<'a> {
    pub(in crate::decode) fn body(side: Side, id: ExchangeId, bytes: &'a [u8]) -> Self {
        match side {
            Side::Request => Self::RequestBody { id, bytes },
            Side::Response => Self::ResponseBody { id, bytes },
        }
    }

    pub(in crate::decode) fn body_gap(side: Side, id: ExchangeId, bytes: u64) -> Self {
        match side {
            Side::Request => Self::RequestBodyGap { id, bytes },
            Side::Response => Self::ResponseBodyGap { id, bytes },
        }
    }

    pub(in crate::decode) fn end(side: Side, id: ExchangeId, at_ns: u64) -> Self {
        match side {
            Side::Request => Self::RequestEnd { id, at_ns },
            Side::Response => Self::ResponseEnd { id, at_ns },
        }
    }
}

/// Takes the events of a connection, in order.
pub trait Sink {
    /// One event. What it borrows is gone when this returns.
    fn event(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Sink for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
