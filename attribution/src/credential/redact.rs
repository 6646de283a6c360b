//! Takes secrets out of command lines. Better one word too many than one secret too few.

use std::ops::Range;
use std::sync::Arc;

use zeroize::Zeroize;

use super::fingerprint::{FleetKey, is_fingerprint};
use super::secret::Secret;
use super::shape::Shapes;
use crate::endpoint::Catalogue;

const REDACTED: &str = "[redacted]";
/// Fewest characters after a telling prefix.
const MIN_BODY: usize = 8;
/// Fewest characters after a prefix that is also the start of common words.
const MIN_BODY_SHORT_PREFIX: usize = 16;
/// Fewest characters of a value that gets a fingerprint; shorter ones are no keys.
const MIN_FINGERPRINT: usize = 16;
/// Fewest characters of a random-looking word.
const MIN_RANDOM: usize = 32;
/// Names that are followed by a secret. Compared without case and with `-` as `_`.
const NAMES: [&str; 12] = [
    "authorization",
    "apikey",
    "api_key",
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "credentials",
    "auth",
];
/// Ends of names that hold a place, not a secret.
const HARMLESS_ENDS: [&str; 10] =
    ["_file", "_path", "_dir", "_url", "_id", "_name", "_type", "_helper", "_env", "_store"];
/// Options whose next word is `user:password`.
const USER_OPTIONS: [&str; 4] = ["-u", "--user", "-U", "--proxy-user"];
/// Words between a header name and its secret.
const SCHEMES: [&str; 4] = ["bearer", "token", "basic", "zenapikey"];

/// Replaces secrets in command lines by their fingerprint or `[redacted]`.
#[derive(Debug, Clone)]
pub struct Redactor {
    shapes: Arc<Shapes>,
    key: Arc<FleetKey>,
}

impl Redactor {
    /// A redactor that knows the key shapes of `catalogue`.
    pub fn new(key: Arc<FleetKey>, catalogue: &Catalogue) -> Self {
        Self { shapes: catalogue.shapes(), key }
    }

    /// The arguments without secrets. The raw arguments are wiped.
    pub fn redact_args(&self, args: Vec<String>) -> Vec<String> {
        let mut out = Vec::with_capacity(args.len());
        let mut next = Next::Plain;
        for mut arg in args {
            let (clean, after) = self.redact(&arg, next);
            next = after;
            arg.zeroize();
            out.push(clean);
        }
        out
    }

    /// One text without secrets, such as a single-string command line.
    pub fn redact_text(&self, text: &str) -> String {
        self.redact(text, Next::Plain).0
    }

    fn redact(&self, arg: &str, expected: Next) -> (String, Next) {
        let mut spans = Vec::new();
        spans.extend(expected.span(arg));
        if spans.is_empty() {
            named(arg, &mut spans);
            schemes(arg, &mut spans);
            userinfo(arg, &mut spans);
            self.shaped(arg, &mut spans);
            words(arg, &mut spans);
            options(arg, &mut spans);
        }
        (self.replace(arg, spans), Next::after(arg))
    }

    /// Keys with a known prefix, anywhere in the text.
    fn shaped(&self, text: &str, spans: &mut Vec<Range<usize>>) {
        for shape in self.shapes.telling() {
            let least = if shape.prefix.len() <= 3 { MIN_BODY_SHORT_PREFIX } else { MIN_BODY };
            for (at, _) in text.match_indices(shape.prefix.as_str()) {
                let inside = text[..at].bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric());
                let from = at + shape.prefix.len();
                let length = text[from..].bytes().take_while(|byte| is_key_byte(*byte)).count();
                if !inside && length >= least {
                    spans.push(at..from + length);
                }
            }
        }
        for (at, _) in text.match_indices("eyJ") {
            let length = text[at..].bytes().take_while(|byte| is_key_byte(*byte)).count();
            if text[at..at + length].contains('.') || length >= MIN_RANDOM {
                spans.push(at..at + length);
            }
        }
    }

    /// Puts something harmless in the place of every span.
    fn replace(&self, text: &str, mut spans: Vec<Range<usize>>) -> String {
        spans.retain(|span| span.start < span.end);
        spans.sort_by_key(|span| span.start);
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        let mut spans = spans.into_iter().peekable();
        while let Some(mut span) = spans.next() {
            while let Some(more) = spans.next_if(|more| more.start <= span.end) {
                span.end = span.end.max(more.end);
            }
            out.push_str(text.get(at..span.start).unwrap_or_default());
            let value = text.get(span.clone()).unwrap_or_default();
            let key = value.len() >= MIN_FINGERPRINT && value.bytes().all(|byte| byte.is_ascii_graphic());
            // What was recorded once is redacted again when it is replayed.
            if is_fingerprint(value) {
                out.push_str(value);
            } else if key {
                out.push_str(self.key.fingerprint(&Secret::copy(value)).as_str());
            } else {
                out.push_str(REDACTED);
            }
            at = span.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }
}

/// What the next argument is, judged by this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Plain,
    Secret,
    User,
}

impl Next {
    /// What comes after `word`.
    fn after(word: &str) -> Self {
        if USER_OPTIONS.contains(&word) {
            Self::User
        } else if word.starts_with('-') && is_secret_name(word.trim_start_matches('-')) {
            Self::Secret
        } else {
            Self::Plain
        }
    }

    /// The secret part of `word`, when this was expected before it.
    fn span(self, word: &str) -> Option<Range<usize>> {
        let option = word.starts_with("--") || (word.starts_with('-') && word.len() == 2);
        match self {
            Self::Plain => None,
            Self::Secret => (!option).then_some(0..word.len()),
            Self::User => word.find(':').map(|colon| colon + 1..word.len()),
        }
    }
}

/// `--token value` inside one text, such as the argument of `sh -c`.
fn options(text: &str, spans: &mut Vec<Range<usize>>) {
    let (mut start, mut expected) = (0, Next::Plain);
    for word in text.split(' ') {
        spans.extend(expected.span(word).map(|span| start + span.start..start + span.end));
        expected = Next::after(word);
        start += word.len() + 1;
    }
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'/' | b'=' | b'~')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether a variable, option, header or field of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    let harmless = HARMLESS_ENDS.iter().any(|end| name.ends_with(end));
    let word = |known: &str| name.ends_with(known) || name.split('_').any(|part| part == known);
    !harmless && NAMES.iter().any(|known| word(known))
}

/// `NAME=value`, `"name": "value"`, `Header: Scheme value`, `?name=value&`.
fn named(text: &str, spans: &mut Vec<Range<usize>>) {
    for (at, separator) in text.match_indices(['=', ':']) {
        let before = text[..at].trim_end_matches([' ', '"', '\'', '\\']);
        let start = before.bytes().rposition(|byte| !is_name_byte(byte)).map_or(0, |found| found + 1);
        let Some(name) = before.get(start..).filter(|name| !name.is_empty()) else { continue };
        if !is_secret_name(name.trim_start_matches('-')) {
            continue;
        }
        let rest = &text[at + 1..];
        let mut from = text.len() - rest.trim_start_matches([' ', '"', '\'', '\\']).len();
        for scheme in SCHEMES {
            let word = text.get(from..from + scheme.len());
            let spaced = text.as_bytes().get(from + scheme.len()) == Some(&b' ');
            if spaced && word.is_some_and(|word| word.eq_ignore_ascii_case(scheme)) {
                from += scheme.len() + 1;
                break;
            }
        }
        // A whole argument `NAME=value` or `Header: value` is a secret to its end.
        let whole = start == 0 || (separator == "=" && before[..start].chars().all(|dash| dash == '-'));
        let end = if whole && !text.contains('&') {
            text.trim_end_matches(['"', '\'']).len()
        } else {
            text[from..]
                .find(['"', '\'', ' ', '&', ',', ';', '}', ')', '\n', '\t', '\\'])
                .map_or(text.len(), |end| from + end)
        };
        if end > from && !is_harmless(&text[from..end]) {
            spans.push(from..end);
        }
    }
}

fn is_harmless(value: &str) -> bool {
    ["true", "false", "none", "null", "auto"].contains(&value)
        || value.starts_with('$')
        || value.starts_with('%')
}

/// `Bearer value` anywhere.
fn schemes(text: &str, spans: &mut Vec<Range<usize>>) {
    for scheme in ["bearer ", "basic "] {
        // No copy in lower case: it would hold the secret and not be wiped.
        let starts = text.as_bytes().windows(scheme.len()).enumerate();
        for (at, _) in starts.filter(|(_, word)| word.eq_ignore_ascii_case(scheme.as_bytes())) {
            let from = at + scheme.len();
            let length = text[from..].bytes().take_while(|byte| is_key_byte(*byte) || *byte == b':').count();
            if length >= MIN_BODY {
                spans.push(from..from + length);
            }
        }
    }
}

/// The password of `scheme://user:password@host`.
fn userinfo(text: &str, spans: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let authority =
            text[from..].find(['/', '?', '#', ' ', '"', '\'']).map_or(text.len(), |end| from + end);
        let Some(end) = text[from..authority].rfind('@').map(|found| from + found) else { continue };
        let start = text[from..end].find(':').map_or(from, |colon| from + colon + 1);
        spans.push(start..end);
    }
}

/// Long words of mixed case and digits: random enough to be a key nobody described.
fn words(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    for word in
        text.split(|character: char| !(character.is_ascii_alphanumeric() || matches!(character, '_' | '-')))
    {
        let span = start..start + word.len();
        // Every separator is one character; its size is what the text says.
        start = span.end + text[span.end..].chars().next().map_or(0, char::len_utf8);
        let has = |test: fn(&u8) -> bool| word.bytes().filter(test).count() >= 3;
        let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
        if word.len() >= MIN_RANDOM && mixed {
            spans.push(span);
        }
    }
}
