//! RFC 3339 form of the schema's times (nanoseconds since the Unix epoch).

use serde::{Deserialize, Deserializer, Serializer, de::Error as _, ser::Error as _};

/// Length of `2026-11-22T05:34:00.623476996Z`: what [`format`] writes.
pub const BYTES: usize = 30;
const NS_PER_S: u64 = 1_000_000_000;

/// `nanoseconds` as RFC 3339 with nine decimals, or nothing when out of range.
pub fn format(nanoseconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?;
    Some(format!("{time:.9}"))
}

/// Nanoseconds since the epoch of an RFC 3339 time, or nothing when it is none. A time that no record can have
/// becomes the nearest that one can; that is never 0, which stands for no time.
pub fn parse(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond().clamp(1, i128::from(u64::MAX))).ok()
}

/// Nanoseconds since the epoch of a time as [`format`] writes it, without the other forms and rules of a calendar;
/// nothing for any other text, which may be a time all the same.
pub fn quick(text: &str) -> Option<u64> {
    let text: &[u8; BYTES] = text.as_bytes().try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
    if !separators.into_iter().all(|(at, byte)| text.get(at) == Some(&byte)) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digit = |value, byte: &u8| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'));
        text.get(from..to)?.iter().try_fold(0_u64, digit)
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_day = (1..=12).contains(&month) && (1..=days).contains(&day);
    if year < 1970 || !is_day || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(NS_PER_S)?.checked_add(number(20, 29)?)
}

/// Days from the epoch in the Gregorian calendar. Years are counted from March, so that the leap day is last.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    era * 146_097 + day_of_era - 719_468
}

pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let text = format(*value).ok_or_else(|| S::Error::custom("time out of range"))?;
    serializer.serialize_str(&text)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
    u64::try_from(time.as_nanosecond()).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_quick_way_reads_what_is_written(time: u64) {
            prop_assert_eq!(quick(&format(time).unwrap()), Some(time));
        }

        #[test]
        fn the_quick_way_reads_nothing_otherwise(
            text in r"[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\.[0-9]{9}Z",
            other in r"[0-9T:.Z-]{0,31}",
        ) {
            for text in [text, other] {
                let known = text.parse().ok().map(|time: jiff::Timestamp| time.as_nanosecond());
                let quick = quick(&text).map(i128::from);
                prop_assert!(quick.is_none() || quick == known, "{}", text);
            }
        }
    }
}
