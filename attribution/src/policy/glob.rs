//! Patterns over names: `*` stands for anything without a slash, `**` for anything, `?` for one character.

use serde::Deserialize;

/// Longest pattern, in bytes.
const MAX_BYTES: usize = 1024;
/// Most `*` and `**` of one pattern: what matching may cost grows with them.
const MAX_STARS: usize = 16;

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Glob(String);

impl Glob {
    /// Whether it matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        matches(self.0.as_bytes(), text.as_bytes())
    }

    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let stars = pattern.split('*').count().saturating_sub(1);
        match pattern.len() {
            0 => Err("a pattern cannot be empty".into()),
            length if length > MAX_BYTES => Err(format!("a pattern has at most {MAX_BYTES} bytes")),
            _ if stars > MAX_STARS => Err(format!("a pattern has at most {MAX_STARS} stars")),
            _ => Ok(Self(pattern)),
        }
    }
}

/// Place in the pattern after a star, and place in the text up to which the star reaches.
type Return = Option<(usize, usize)>;

/// Two-pointer matching with one point of return for `*` and one for `**`: no more than text times pattern
/// steps for each `**`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let (mut star, mut double): (Return, Return) = (None, None);
    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) if pattern.get(p + 1) == Some(&b'*') => {
                p += 2;
                double = Some((p, t));
                star = None;
                continue;
            }
            (Some(b'*'), _) => {
                p += 1;
                star = Some((p, t));
                continue;
            }
            (None, None) => return true,
            (Some(b'?'), Some(byte)) if *byte != b'/' => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            (Some(wanted), Some(byte)) if wanted == byte => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        // A single star takes one character more, if that is no slash; else the double one does.
        if let Some((after, from)) = star
            && text.get(from).is_some_and(|byte| *byte != b'/')
        {
            star = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else if let Some((after, from)) = double
            && from < text.len()
        {
            double = Some((after, from + 1));
            star = None;
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Glob::try_from(pattern.to_owned()).unwrap().matches(text)
    }

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        for (pattern, text, expected) in [
            ("systemd://*/billing.service", "systemd://h1/billing.service", true),
            ("systemd://*/billing.service", "systemd://h1/x/billing.service", false),
            ("k8s://prod/billing/**", "k8s://prod/billing/deployment/bot", true),
            ("k8s://prod/billing/**", "k8s://prod/billing-2/deployment/bot", false),
            ("**", "anything/at/all", true),
            ("**/bot", "k8s://c/ns/deployment/bot", true),
            ("**/a*c/**", "x/abc/y/abd", true),
            ("**/a*c", "a/x/ac/abx/axxc", true),
            ("gpt-5*", "gpt-5-mini", true),
            ("gpt-5*", "gpt-4", false),
            ("gpt-?", "gpt-5", true),
            ("gpt-?", "gpt-", false),
            ("*", "", true),
            ("a", "ab", false),
            ("ab", "a", false),
            ("grüße*", "grüße an alle", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_patterns_are_refused_or_quick() {
        assert!(Glob::try_from(String::new()).is_err());
        assert!(Glob::try_from("a".repeat(2000)).is_err());
        assert!(Glob::try_from("*a".repeat(30)).is_err());
        assert!(!fits(&"**a".repeat(8), &"b".repeat(5000)));
    }
}
