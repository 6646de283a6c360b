//! Days and times of day of prices, UTC.

const SECONDS_PER_DAY: u64 = 86_400;
const NANO_PER_SECOND: u64 = 1_000_000_000;

/// Days since the epoch of `YYYY-MM-DD`.
pub(super) fn day(text: &str) -> Option<u64> {
    let [year, month, day] = numbers(text, '-')?;
    let fits = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    // Howard Hinnant's days_from_civil, for years after the epoch.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    fits.then(|| days.saturating_sub(719_468))
}

/// Minutes since midnight of `HH:MM`.
pub(super) fn minute(text: &str) -> Option<u64> {
    let [hour, minute] = numbers(text, ':')?;
    (hour <= 24 && minute < 60).then_some(hour * 60 + minute)
}

/// Day and minute of the day of nanoseconds since the epoch.
pub(super) fn split(time: u64) -> (u64, u64) {
    let seconds = time / NANO_PER_SECOND;
    (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY / 60)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[u64; N]> {
    let parts: Option<Vec<u64>> = text
        .split(separator)
        .map(|part| part.parse().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit())))
        .collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_minutes() {
        assert_eq!((day("1970-01-01"), day("1970-03-01")), (Some(0), Some(59)));
        assert_eq!((day("2000-02-29"), day("2026-11-22")), (Some(11_016), Some(20_779)));
        assert_eq!((day("2026-13-01"), day("tomorrow"), day("2026-11"), day("")), (None, None, None, None));
        assert_eq!((minute("00:30"), minute("24:00"), minute("7")), (Some(30), Some(1440), None));
        assert_eq!(split(20_779 * 86_400 * NANO_PER_SECOND + 61 * NANO_PER_SECOND), (20_779, 1));
    }
}
