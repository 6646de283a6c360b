//! Host names as they come off the wire.

/// Longest host name in text form, in bytes (RFC 1035 section 2.3.4, less the root).
const NAME_LIMIT: usize = 253;
/// Longest label, in bytes (RFC 1035 section 2.3.4).
const LABEL_LIMIT: usize = 63;

/// A host name in lower case without its trailing dot, or `None` when `bytes` are not one.
///
/// Letters, digits, hyphens and underscores are taken (RFC 1123 section 2.1, plus the underscore that
/// service names use). A name whose last label is all digits could be read as an IPv4 address and is refused.
pub(crate) fn host_name(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    if bytes.is_empty() || bytes.len() > NAME_LIMIT {
        return None;
    }
    let mut last_is_number = false;
    for label in bytes.split(|&byte| byte == b'.') {
        let known = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if label.is_empty() || label.len() > LABEL_LIMIT || !label.iter().all(known) {
            return None;
        }
        last_is_number = label.iter().all(u8::is_ascii_digit);
    }
    if last_is_number {
        return None;
    }
    let name = str::from_utf8(bytes).ok()?;
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::host_name;

    #[test]
    fn a_name_is_lower_cased_and_loses_its_root_dot() {
        assert_eq!(host_name(b"API.Example.COM.").as_deref(), Some("api.example.com"));
        assert_eq!(host_name(b"_dns.a-b.1.test").as_deref(), Some("_dns.a-b.1.test"));
        assert_eq!(host_name(b"localhost").as_deref(), Some("localhost"));
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long_label = [b'a'; 64];
        let long_name = b"a.".repeat(128);
        let bad: [&[u8]; 11] = [
            b"",
            b".",
            b"a..b",
            b"a b",
            b"a/b",
            b"\xffx",
            b"127.0.0.1",
            b"[::1]",
            b"a\0b",
            &long_label,
            &long_name,
        ];
        for name in bad {
            assert_eq!(host_name(name), None, "{name:?}");
        }
    }
}
