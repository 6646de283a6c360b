//! Short forms of what records hold, safe to print.

use jiff::{Timestamp, tz::TimeZone};
use proto::v1::{Credential, Process, Workload};

use crate::term::{cut, escape};

/// What is shown for the unknown.
pub(crate) const UNKNOWN: &str = "?";
/// Longest piece of foreign text in a line, in characters.
const MAX_CHARS: usize = 96;
/// Longest sentence in a block, in characters.
const MAX_SENTENCE_CHARS: usize = 400;
/// Hexadecimal digits from which on a word is an id that only its start is needed of.
const ID_DIGITS: usize = 32;
/// Digits that are shown of such an id, as Docker does.
const SHORT_ID: usize = 12;
/// Characters that are shown of a fingerprint.
const SHORT_FINGERPRINT: usize = 8;

/// A field.
pub(crate) fn field(text: &str) -> String {
    escape(text, MAX_CHARS).into_owned()
}

/// A field, or `?` when it is empty.
pub(crate) fn known(text: &str) -> String {
    if text.is_empty() { UNKNOWN.to_owned() } else { field(text) }
}

/// A sentence.
pub(crate) fn sentence(text: &str) -> String {
    escape(text, MAX_SENTENCE_CHARS).into_owned()
}

/// Time of day with milliseconds.
pub(crate) fn clock(time: u64, zone: &TimeZone) -> String {
    at(time, zone, "%H:%M:%S%.3f")
}

/// Day and time.
pub(crate) fn day(time: u64, zone: &TimeZone) -> String {
    at(time, zone, "%Y-%m-%d %H:%M:%S")
}

fn at(time: u64, zone: &TimeZone, format: &str) -> String {
    match Timestamp::from_nanosecond(time.into()) {
        Ok(stamp) if time > 0 => stamp.to_zoned(zone.clone()).strftime(format).to_string(),
        _ => UNKNOWN.to_owned(),
    }
}

/// `curl[4242]`, the name cut so that all of it takes at most `columns`.
pub(crate) fn process(process: Option<&Process>, columns: usize) -> String {
    let Some(process) = process else { return UNKNOWN.to_owned() };
    let file = process.exe.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let name = known(if file.is_empty() { &process.comm } else { file });
    let id = format!("[{}]", process.pid);
    format!("{}{id}", cut(&name, columns.saturating_sub(id.len())))
}

/// The workload by name. A user's program is told apart better by the last part of its cgroup path.
pub(crate) fn workload(workload: Option<&Workload>, process: Option<&Process>) -> String {
    let path = process.map(|process| process.cgroup.as_str()).unwrap_or_default();
    let group = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let known_group = if group.is_empty() { path } else { group };
    let Some(workload) = workload.filter(|workload| workload.kind != "user" || group.is_empty()) else {
        return known(&shorten_ids(known_group));
    };
    let names = [&workload.name, &workload.container, &workload.unit, &workload.id];
    let Some(name) = names.into_iter().find(|name| !name.is_empty()) else {
        return known(&shorten_ids(known_group));
    };
    let place = if workload.namespace.is_empty() { &workload.kind } else { &workload.namespace };
    if place.is_empty() || name.contains("://") {
        return field(&shorten_ids(name));
    }
    field(&shorten_ids(&format!("{place}/{name}")))
}

/// The key for a line: hint and start of the fingerprint.
pub(crate) fn key(credential: Option<&Credential>) -> String {
    let Some(credential) = credential else { return "no key".to_owned() };
    let short: String = credential
        .fingerprint
        .rsplit('-')
        .next()
        .unwrap_or_default()
        .chars()
        .take(SHORT_FINGERPRINT)
        .collect();
    let short = if short.is_empty() { String::new() } else { format!("#{short}") };
    let inferred = if credential.evidence == "inferred" { "(inferred)" } else { "" };
    let words = [credential.hint.as_str(), &short, inferred];
    known(&words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// A duration in the unit that fits.
pub(crate) fn duration(milliseconds: u64) -> String {
    let (minutes, seconds) = (milliseconds / 60_000, milliseconds / 1000 % 60);
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        1000..60_000 => format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{minutes}m{seconds:02}s"),
        _ => format!("{}h{:02}m", minutes / 60, minutes % 60),
    }
}

/// `text` with long hexadecimal ids cut to their first twelve digits.
fn shorten_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_digit = |char: char| matches!(char, '0'..='9' | 'a'..='f');
        let word = rest.find(|char| !is_digit(char)).unwrap_or(rest.len());
        let (id, after) = rest.split_at(word);
        out.push_str(if word < ID_DIGITS { id } else { id.get(..SHORT_ID).unwrap_or(id) });
        let next = after.find(is_digit).unwrap_or(after.len());
        let (plain, after) = after.split_at(next);
        out.push_str(plain);
        rest = after;
    }
    out
}
