//! The start of an HTTP/1 request, as the handshake and the TLS hooks look for it.

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
