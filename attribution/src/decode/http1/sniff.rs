//! Is this the start of an HTTP/1.x message?

use crate::decode::Outcome;

/// Methods a message may start with: RFC 9110 section 9, PATCH (RFC 5789) and QUERY. Anything else is taken
/// for another protocol.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"QUERY ",
];
/// First bytes of a target: origin form, absolute form, asterisk form (RFC 9112 section 3.2).
const TARGETS: [&[u8]; 4] = [b"/", b"http://", b"https://", b"*"];
/// First bytes of a response (RFC 9112 section 4).
const VERSIONS: [&[u8]; 2] = [b"HTTP/1.1 ", b"HTTP/1.0 "];

/// Do these bytes start an HTTP/1.x request? Decided at the first bytes of the target. The HTTP/2 preface
/// is no match.
pub fn looks_like_request(bytes: &[u8]) -> Outcome<()> {
    match any_prefix(&METHODS, bytes) {
        Outcome::Match(method) => {
            let target = bytes.get(method.len()..).unwrap_or_default();
            match target.first() {
                None => Outcome::Incomplete,
                // Authority form: host name, IPv4 address or bracketed IPv6 address.
                Some(byte) if method == b"CONNECT " => match byte.is_ascii_alphanumeric() || *byte == b'[' {
                    true => Outcome::Match(()),
                    false => Outcome::NoMatch,
                },
                Some(_) => forget(any_prefix(&TARGETS, target)),
            }
        }
        undecided => forget(undecided),
    }
}

/// Do these bytes start an HTTP/1.x response? Decided after the version.
pub fn looks_like_response(bytes: &[u8]) -> Outcome<()> {
    forget(any_prefix(&VERSIONS, bytes))
}

/// The one of `words` that `bytes` start with.
fn any_prefix(words: &[&'static [u8]], bytes: &[u8]) -> Outcome<&'static [u8]> {
    for word in words {
        if bytes.starts_with(word) {
            return Outcome::Match(word);
        }
    }
    match words.iter().any(|word| word.starts_with(bytes)) {
        true => Outcome::Incomplete,
        false => Outcome::NoMatch,
    }
}

fn forget(outcome: Outcome<&[u8]>) -> Outcome<()> {
    match outcome {
        Outcome::Match(_) => Outcome::Match(()),
        Outcome::Incomplete => Outcome::Incomplete,
        Outcome::NoMatch => Outcome::NoMatch,
    }
}

#[cfg(test)]
mod tests {
    use super::{looks_like_request, looks_like_response};
    use crate::decode::Outcome;

    /// Bytes of `whole` until which the answer is open; then it must stay.
    fn decided_at(sniff: fn(&[u8]) -> Outcome<()>, whole: &[u8]) -> (usize, Outcome<()>) {
        let at = (0..=whole.len()).find(|&end| sniff(&whole[..end]) != Outcome::Incomplete);
        let at = at.expect("never decided");
        for end in at..=whole.len() {
            assert_eq!(sniff(&whole[..end]), sniff(whole), "{end}");
        }
        (at, sniff(whole))
    }

    #[test]
    fn requests_are_known_by_method_and_target() {
        let yes = Outcome::Match(());
        assert_eq!(decided_at(looks_like_request, b"POST /v1/messages HTTP/1.1\r\n"), (6, yes.clone()));
        assert_eq!(decided_at(looks_like_request, b"GET http://a.test/ HTTP/1.1\r\n"), (11, yes.clone()));
        assert_eq!(decided_at(looks_like_request, b"OPTIONS * HTTP/1.1\r\n"), (9, yes.clone()));
        assert_eq!(decided_at(looks_like_request, b"CONNECT [::1]:443 HTTP/1.1\r\n"), (9, yes));
    }

    #[test]
    fn other_protocols_are_refused_at_the_first_strange_byte() {
        let no = Outcome::NoMatch;
        assert_eq!(decided_at(looks_like_request, b"PRI * HTTP/2.0\r\n\r\nSM"), (2, no.clone()));
        assert_eq!(decided_at(looks_like_request, b"\x16\x03\x01"), (1, no.clone()));
        assert_eq!(decided_at(looks_like_request, b"GET key\r\n"), (5, no.clone()));
        assert_eq!(decided_at(looks_like_request, b"OPTIONS sip:a SIP/2.0"), (9, no.clone()));
        assert_eq!(decided_at(looks_like_request, b"CONNECT / HTTP/1.1"), (9, no.clone()));
        assert_eq!(decided_at(looks_like_response, b"HTTP/2 200"), (6, no.clone()));
        assert_eq!(decided_at(looks_like_response, b"SSH-2.0"), (1, no));
        assert_eq!(decided_at(looks_like_response, b"HTTP/1.1 200 OK"), (9, Outcome::Match(())));
    }
}
