//! Is this HTTP/2, and where in it?

use super::frames::{HEADER_LEN, Header, flag, kind};

/// What a client begins a connection with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest payload that a frame may have by default (RFC 9113 section 4.2), in bytes.
const DEFAULT_FRAME: u32 = 16 * 1024;

/// Are these the preface, or as much of it as tells it from a request of HTTP/1?
pub fn looks_like_preface(bytes: &[u8]) -> bool {
    let known = bytes.len().min(PREFACE.len());
    known >= 4 && bytes.get(..known) == PREFACE.get(..known)
}

/// Does this write begin with the request headers of a connection that is already open? The kernel asks the same
/// (`is_open_http2` of its TLS hook). Responses begin with a status, requests with a method or an authority
/// (RFC 7541 appendix A), so a server is never taken for a client.
pub fn looks_like_requests(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>().map(Header::parse) else { return false };
    let known = flag::END_STREAM | flag::END_HEADERS | flag::PRIORITY;
    if header.kind != kind::HEADERS
        || header.len > DEFAULT_FRAME
        || header.stream.is_multiple_of(2)
        || header.flags & !known != 0
        || bytes.get(5).is_none_or(|byte| byte & 0x80 != 0)
    {
        return false;
    }
    let block = HEADER_LEN + if header.has(flag::PRIORITY) { 5 } else { 0 };
    matches!(bytes.get(block), Some(0x82 | 0x83 | 0x41 | 0x81))
}

/// Are these bytes frames from their first byte on, as far as they go?
pub(super) fn looks_like_frames(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(header) = rest.first_chunk::<HEADER_LEN>().map(Header::parse) {
        if header.kind > kind::CONTINUATION || header.len > DEFAULT_FRAME || !header.is_sound() {
            return false;
        }
        rest = rest.get(HEADER_LEN + header.len as usize..).unwrap_or_default();
    }
    bytes.len() >= HEADER_LEN
}

#[cfg(test)]
mod tests {
    use super::{looks_like_frames, looks_like_requests};

    #[test]
    fn request_headers_are_told_from_responses_and_text() {
        let frame = |flags: u8, stream: u8, block: &[u8]| {
            [&[0, 0, block.len() as u8, 1, flags, 0, 0, 0, stream], block].concat()
        };
        assert!(looks_like_requests(&frame(4, 3, &[0x83, 0x87])));
        assert!(looks_like_requests(&frame(0x25, 5, &[0, 0, 0, 0, 16, 0x82])));
        assert!(looks_like_requests(&frame(5, 7, b"\x41\x08a.test")));
        assert!(!looks_like_requests(&frame(4, 3, &[0x88])), "a response");
        assert!(!looks_like_requests(&frame(4, 2, &[0x83])), "a stream of the server");
        assert!(!looks_like_requests(b"POST / HTTP/1.1\r\n"));
        for end in 0..10 {
            assert!(!looks_like_requests(&frame(4, 3, &[0x83])[..end]));
        }
    }

    #[test]
    fn frames_are_told_from_the_middle_of_data() {
        let settings = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let window = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 1, 0];
        assert!(looks_like_frames(&[&settings[..], &window].concat()));
        assert!(looks_like_frames(&[&settings[..], &window[..5]].concat()));
        assert!(!looks_like_frames(b"{\"choices\":[]}"));
        assert!(!looks_like_frames(&settings[..8]));
        assert!(!looks_like_frames(&[&settings[..], b"text that is no frame"].concat()));
    }
}
