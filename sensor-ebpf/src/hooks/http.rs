//! The start of a request, as the handshake and the TLS hooks look for it.

/// Whether these are the first bytes of a request method (RFC 9110 9.3, RFC 5789), with the space after a
/// short one.
#[inline(always)]
pub fn is_method(start: [u8; 4]) -> bool {
    matches!(
        start,
        [b'G', b'E', b'T', b' ']
            | [b'P', b'O', b'S', b'T']
            | [b'P', b'U', b'T', b' ']
            | [b'H', b'E', b'A', b'D']
            | [b'D', b'E', b'L', b'E']
            | [b'O', b'P', b'T', b'I']
            | [b'P', b'A', b'T', b'C']
            | [b'C', b'O', b'N', b'N']
    )
}

/// Whether these are the first bytes of a client's HEADERS frame (RFC 9113 4.1, 6.2), as a client that was
/// connected before the sensor started writes them. Responses begin with a status, requests with a method or
/// an authority (RFC 7541 appendix A), so a server is never taken for a client. User space asks the same
/// (`decode::http2::looks_like_requests`).
#[inline(always)]
pub fn is_open_http2(first: &[u8; 16]) -> bool {
    let [len, _, _, kind, flags, stream, _, _, odd, ..] = *first;
    // Without and with a priority (flag 0x20) before the header block; END_STREAM and END_HEADERS may be set.
    let field = if flags & 0x20 == 0 { first[9] } else { first[14] };
    len == 0
        && kind == 1
        && flags & !0x25 == 0
        && stream & 0x80 == 0
        && odd & 1 == 1
        && matches!(field, 0x82 | 0x83 | 0x41 | 0x81)
}
