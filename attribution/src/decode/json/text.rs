//! String escapes and number syntax (RFC 8259 sections 6 and 7).

/// `raw` without its escapes; what is broken becomes U+FFFD, an escape that is cut off at the end is dropped.
pub(super) fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (character, used) = one_escape(escape);
        if used == 0 {
            return lossy(out);
        }
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escape.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    lossy(out)
}

/// The character of the escape at the start of `input` and the bytes it took; 0 when it is cut off.
fn one_escape(input: &[u8]) -> (char, usize) {
    let simple = match input.get(1) {
        None => return (char::REPLACEMENT_CHARACTER, 0),
        Some(b'u') => None,
        Some(b'n') => Some('\n'),
        Some(b't') => Some('\t'),
        Some(b'r') => Some('\r'),
        Some(b'b') => Some('\u{8}'),
        Some(b'f') => Some('\u{c}'),
        Some(byte @ (b'"' | b'\\' | b'/')) => Some(char::from(*byte)),
        Some(_) => Some(char::REPLACEMENT_CHARACTER),
    };
    if let Some(character) = simple {
        return (character, 2);
    }
    if input.len() < 6 {
        return (char::REPLACEMENT_CHARACTER, 0);
    }
    let Some(high) = hex4(input.get(2..6)) else { return (char::REPLACEMENT_CHARACTER, 2) };
    if !(0xd800..0xdc00).contains(&high) {
        return (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6);
    }
    // A pair of surrogates stands for one character.
    let low = if input.get(6..8) == Some(b"\\u") { hex4(input.get(8..12)) } else { None };
    match low.filter(|low| (0xdc00..0xe000).contains(low)) {
        Some(low) => {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        None => (char::REPLACEMENT_CHARACTER, 6),
    }
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    let text = std::str::from_utf8(digits?).ok()?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(text, 16).ok())?
}

fn lossy(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let whole = error.utf8_error();
            let mut bytes = error.into_bytes();
            // A character that the limit cut in two is left out.
            if whole.error_len().is_none() {
                bytes.truncate(whole.valid_up_to());
            }
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

/// Whether `text` is a JSON number.
pub(super) fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(text);
    if whole == 0 || (whole > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => match digits(fraction) {
            (0, _) => return false,
            (_, rest) => rest,
        },
    };
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
    matches!(digits(exponent), (1.., []))
}

fn digits(text: &[u8]) -> (usize, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count, text.get(count..).unwrap_or_default())
}
