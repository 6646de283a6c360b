//! One direction of a connection.

use super::body::Body;
use super::head::{HeadBuffer, Taken};
use crate::decode::Outcome;
use crate::decode::http::{BrokenReason, ExchangeId, Headers};

/// Most fields in one head.
pub(super) const FIELD_LIMIT: usize = 256;
/// Bytes that always decide whether a message starts here: the longest method and the longest target prefix.
const OPENING_LEN: usize = 16;

/// What the next byte of a direction is.
pub(super) enum Phase {
    /// Of a head, or the first of one.
    Head,
    /// Of a body.
    Body { id: ExchangeId, body: Body },
    /// Unknown until a call starts with a message.
    Lost,
    /// Of another protocol, once the exchange that asked for it was answered.
    Tunnel(Option<ExchangeId>),
    /// Unknown for good.
    Dead(BrokenReason),
}

/// A direction's position.
pub(super) struct Inbound {
    pub(super) phase: Phase,
    /// The part of the next head that has come.
    pub(super) head: HeadBuffer,
    /// When its first byte came.
    pub(super) head_at_ns: u64,
    /// A head has been read: the direction is known to be HTTP.
    pub(super) known: bool,
    /// Bytes passed over because nobody could say what they were.
    pub(super) skipped: u64,
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Head, head: HeadBuffer::default(), head_at_ns: 0, known: false, skipped: 0 }
    }

    pub(super) fn skip(&mut self, n: u64) {
        self.skipped = self.skipped.saturating_add(n);
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.head.clear();
        self.phase = phase;
    }

    /// Adds `bytes` to the head under way; `None` when it needs more.
    pub(super) fn take_head(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        sniff: fn(&[u8]) -> Outcome<()>,
    ) -> Result<Option<Taken>, BrokenReason> {
        if self.head.is_empty() {
            self.head_at_ns = now_ns;
        }
        let kept = self.head.bytes();
        if kept.len() < OPENING_LEN {
            let opening: Vec<u8> = kept.iter().chain(bytes).copied().take(OPENING_LEN).collect();
            if sniff(&opening) == Outcome::NoMatch {
                return Err(BrokenReason::NotHttp);
            }
        }
        let taken = self.head.push(bytes)?;
        self.known |= taken.is_some();
        Ok(taken)
    }
}

/// The front of `bytes` without line ends, which may stand before a message (RFC 9112 section 2.2).
pub(super) fn without_leading_line_ends(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// A request head in its parts.
pub(super) struct RequestHead<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: Headers<'a>,
}

/// A response head in its parts.
pub(super) struct ResponseHead<'a> {
    pub(super) status: u16,
    pub(super) headers: Headers<'a>,
}

/// RFC 9112 section 3.
pub(super) fn parse_request<'a>(
    head: &'a [u8],
    fields: &'a mut [httparse::Header<'a>],
) -> Result<RequestHead<'a>, BrokenReason> {
    let mut request = httparse::Request::new(fields);
    whole(request.parse(head), head)?;
    match (request.method, request.path) {
        (Some(method), Some(target)) => Ok(RequestHead { method, target, headers: Headers(request.headers) }),
        _ => Err(BrokenReason::BadHead),
    }
}

/// RFC 9112 section 4.
pub(super) fn parse_response<'a>(
    head: &'a [u8],
    fields: &'a mut [httparse::Header<'a>],
) -> Result<ResponseHead<'a>, BrokenReason> {
    let mut response = httparse::Response::new(fields);
    whole(response.parse(head), head)?;
    match response.code {
        Some(status) => Ok(ResponseHead { status, headers: Headers(response.headers) }),
        None => Err(BrokenReason::BadHead),
    }
}

fn whole(parsed: httparse::Result<usize>, head: &[u8]) -> Result<(), BrokenReason> {
    match parsed {
        Ok(httparse::Status::Complete(len)) if len == head.len() => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(BrokenReason::HeadTooLarge),
        _ => Err(BrokenReason::BadHead),
    }
}
