//! The time at the beginning of a line, without parsing all of it.

/// What a line begins with.
const START: &[u8] = br#"{"time":""#;
/// Length of `2026-11-22T05:34:00.623476996Z`.
const TIME_BYTES: usize = 30;
const NS_PER_S: u64 = 1_000_000_000;

/// Nanoseconds since the epoch of a line's time as this program writes it; nothing for any other form.
pub(crate) fn of_line(line: &[u8]) -> Option<u64> {
    let text = line.strip_prefix(START)?.first_chunk::<TIME_BYTES>()?;
    let form = |at: usize, byte: u8| text.get(at) == Some(&byte);
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
    if !separators.into_iter().all(|(at, byte)| form(at, byte)) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text.get(from..to)?
            .iter()
            .try_fold(0_u64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds =
        days(year, month, day) * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    seconds.checked_mul(NS_PER_S)?.checked_add(number(20, 29)?)
}

/// Days from the epoch in the Gregorian calendar. Years are counted from March, so that the leap day is last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proto::v1::{Record, Status, record::Body};

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_reads_what_the_schema_writes(time in 1_u64..9_000_000_000_000_000_000) {
            let record = Record::new(time, Body::Status(Status::default()));
            let line = serde_json::to_vec(&record).unwrap();
            proptest::prop_assert_eq!(of_line(&line), Some(time));
        }

        #[test]
        fn any_bytes_are_no_panic(line: Vec<u8>, text in r#"\{"time":"[0-9T:.Z-]{30}"#) {
            of_line(&line);
            of_line(text.as_bytes());
        }
    }

    #[test]
    fn other_forms_have_no_quick_time() {
        for line in [r#"{"time":"2026-11-22T05:34:00Z"}"#, r#"{"kind":"flow"}"#, "", r#"{"time":""#] {
            assert_eq!(of_line(line.as_bytes()), None, "{line}");
        }
    }
}
