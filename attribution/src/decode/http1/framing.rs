//! How long a message body is (RFC 9112 section 6).

use super::body::Body;
use crate::decode::http::{BrokenReason, Headers};

/// The body that follows a request head; `None` when there is none.
pub(super) fn request_body(headers: Headers<'_>) -> Result<Option<Body>, BrokenReason> {
    match transfer_coding(headers) {
        // A request has to end with chunked (RFC 9112 section 6.3, item 4).
        Some(Coding::Other) => Err(BrokenReason::BadLength),
        Some(Coding::Chunked) => Ok(Some(Body::chunked())),
        None => Ok(content_length(headers)?.and_then(Body::fixed)),
    }
}

/// The body that follows a final response head; `None` when there is none. `to_head` tells that the request
/// was a HEAD.
pub(super) fn response_body(
    status: u16,
    to_head: bool,
    headers: Headers<'_>,
) -> Result<Option<Body>, BrokenReason> {
    if to_head || status == 204 || status == 304 {
        return Ok(None);
    }
    match transfer_coding(headers) {
        Some(Coding::Chunked) => Ok(Some(Body::chunked())),
        Some(Coding::Other) => Ok(Some(Body::UntilClose)),
        None => match content_length(headers)? {
            Some(len) => Ok(Body::fixed(len)),
            None => Ok(Some(Body::UntilClose)),
        },
    }
}

enum Coding {
    /// The last transfer coding is chunked.
    Chunked,
    Other,
}

/// A Transfer-Encoding overrides any Content-Length (RFC 9112 section 6.3, item 3).
fn transfer_coding(headers: Headers<'_>) -> Option<Coding> {
    let value = headers.all("transfer-encoding").last()?;
    let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
    match last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        true => Some(Coding::Chunked),
        false => Some(Coding::Other),
    }
}

/// The one length that every Content-Length says, which may be repeated (RFC 9112 section 6.3, item 5).
fn content_length(headers: Headers<'_>) -> Result<Option<u64>, BrokenReason> {
    let mut found = None;
    for value in headers.all("content-length").flat_map(|value| value.split(|&byte| byte == b',')) {
        let len = decimal(value.trim_ascii()).ok_or(BrokenReason::BadLength)?;
        if found.is_some_and(|other| other != len) {
            return Err(BrokenReason::BadLength);
        }
        found = Some(len);
    }
    Ok(found)
}

/// Digits only: no sign, no space (RFC 9110 section 8.6).
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}
