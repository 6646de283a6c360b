//! Names of models with and without their version.

/// `name` without the version at its end, when it has one: `-latest`, `-001`, `-20250514`, `-2025-05-14`,
/// `@20250514`, and Bedrock's `-v1:0` behind any of them.
pub(super) fn without_version(name: &str) -> Option<&str> {
    if let Some(name) = name.strip_suffix("-latest") {
        return Some(name);
    }
    let short = without_revision(name).unwrap_or(name);
    let short = without_date(short).unwrap_or(short);
    (short.len() < name.len()).then_some(short).filter(|name| !name.is_empty())
}

/// Without `-v1` or `-v1:0`.
fn without_revision(name: &str) -> Option<&str> {
    let (head, revision) = name.rsplit_once("-v")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (major, minor) = revision.split_once(':').unwrap_or((revision, "0"));
    (digits(major) && digits(minor)).then_some(head)
}

fn without_date(name: &str) -> Option<&str> {
    ["0000-00-00", "00000000", "000"].into_iter().find_map(|form| {
        let at = name.len().checked_sub(form.len() + 1)?;
        let (head, tail) = (name.get(..at)?, name.get(at..)?);
        let tail = tail.strip_prefix(['-', '@'])?;
        let same = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
        tail.bytes().zip(form.bytes()).all(same).then_some(head)
    })
}

#[cfg(test)]
mod tests {
    use super::without_version;

    #[test]
    fn only_versions_are_taken_off() {
        for (name, short) in [
            ("gpt-4o-2024-11-20", Some("gpt-4o")),
            ("claude-sonnet-4-20250514", Some("claude-sonnet-4")),
            ("claude-sonnet-4@20250514", Some("claude-sonnet-4")),
            ("claude-3-5-haiku-latest", Some("claude-3-5-haiku")),
            ("gemini-2.0-flash-001", Some("gemini-2.0-flash")),
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", Some("anthropic.claude-sonnet-4-5")),
            ("amazon.nova-lite-v1:0", Some("amazon.nova-lite")),
            ("gpt-4o-mini", None),
            ("claude-opus-4-1", None),
            ("mistral-large-2512", None),
            ("gpt-4-0613", None),
            ("gpt-4-turbo-preview", None),
            ("o3", None),
            ("-001", None),
            ("", None),
        ] {
            assert_eq!(without_version(name), short, "{name}");
        }
    }
}
