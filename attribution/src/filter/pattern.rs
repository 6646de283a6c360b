//! Text with `*` for anything.

/// Whether the whole of `text` is `pattern`.
pub(super) fn whole(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    // `split` gives at least one part.
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    text.ends_with(last)
}

/// Whether `text` is or begins with `pattern`.
pub(super) fn start(pattern: &str, text: &str) -> bool {
    if pattern.contains('*') { whole(pattern, text) } else { text.starts_with(pattern) }
}

/// The longest piece of `pattern` that stands as it is in the JSON of any text that matches; nothing when
/// there is none worth a search.
pub(super) fn needle(pattern: &str) -> Option<&str> {
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | ':' | '@');
    pattern.split(|char| !plain(char)).max_by_key(|piece| piece.len()).filter(|piece| !piece.is_empty())
}
