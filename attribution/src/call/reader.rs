//! The HTTP version of a connection, and the one way to read it.

use crate::decode::Outcome;
use crate::decode::http::{BrokenReason, Side, Sink};
use crate::decode::{http1, http2};

/// A connection's decoder.
pub(super) enum Reader {
    Http1(Box<http1::Exchanges>),
    Http2(Box<http2::Exchanges>),
}

impl Reader {
    /// For a connection whose first bytes of the client are these.
    pub(super) fn of(first: &[u8]) -> Self {
        if http2::looks_like_preface(first) {
            Self::Http2(Box::default())
        } else if http2::looks_like_requests(first) {
            Self::Http2(Box::new(http2::Exchanges::joined()))
        } else {
            Self::Http1(Box::default())
        }
    }

    pub(super) fn gap(&mut self, side: Side, n: u64, now_ns: u64, sink: &mut impl Sink) {
        match (self, side) {
            (Self::Http1(http1), Side::Request) => http1.request_gap(n, now_ns, sink),
            (Self::Http1(http1), Side::Response) => http1.response_gap(n, now_ns, sink),
            (Self::Http2(http2), side) => http2.gap(side, n, now_ns, sink),
        }
    }

    pub(super) fn bytes(&mut self, side: Side, bytes: &[u8], now_ns: u64, sink: &mut impl Sink) {
        match (self, side) {
            (Self::Http1(http1), Side::Request) => http1.request_bytes(bytes, now_ns, sink),
            (Self::Http1(http1), Side::Response) => http1.response_bytes(bytes, now_ns, sink),
            (Self::Http2(http2), side) => http2.bytes(side, bytes, now_ns, sink),
        }
    }

    pub(super) fn closed(&mut self, now_ns: u64, sink: &mut impl Sink) {
        match self {
            Self::Http1(http1) => http1.closed(now_ns, sink),
            Self::Http2(http2) => http2.closed(sink),
        }
    }

    /// Whether bytes that the client read answer a request that was not seen yet.
    pub(super) fn answers_early(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Http1(http1) => http1.answers_early(bytes),
            Self::Http2(_) => false,
        }
    }

    /// Why nothing more of a direction is read, if that is known for good.
    pub(super) fn lost(&self) -> Option<BrokenReason> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(http2) => http2.lost(),
        }
    }

    /// Whether a write that begins with these bytes can only be the first of another connection.
    pub(super) fn begins_anew(&self, bytes: &[u8], waits: bool) -> bool {
        let http1 = http1::looks_like_request(bytes) == Outcome::Match(());
        match self {
            // Without a client random, pipelining looks like this too.
            Self::Http1(_) => http2::looks_like_preface(bytes) || (http1 && waits),
            Self::Http2(http2) => http2.at_boundary() && (http2::looks_like_preface(bytes) || http1),
        }
    }
}
