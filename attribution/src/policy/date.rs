//! Days and times of policy files.

use toml::value::Datetime;

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;

/// The moment a date means: its midnight in UTC, or the time it gives. Times before 1970 are refused.
pub(super) fn nanoseconds(datetime: &Datetime) -> Option<u64> {
    let date = datetime.date?;
    let days = days(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = match datetime.time {
        Some(time) => {
            i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0))
        }
        None => 0,
    };
    let offset = match datetime.offset {
        Some(toml::value::Offset::Custom { minutes }) => i64::from(minutes) * 60,
        _ => 0,
    };
    u64::try_from(days * 86_400 + seconds - offset).ok()?.checked_mul(SECOND_NS)
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01 (the same, civil_from_days).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A day as `2026-01-31`.
pub(crate) fn day_text(time: u64) -> String {
    let (year, month, day) = civil(i64::try_from(time / (86_400 * SECOND_NS)).unwrap_or(0));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        for day in -1000..60_000 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(day_text(20_454 * 86_400 * SECOND_NS), "2026-01-01");
    }

    #[test]
    fn offsets_and_times_count() {
        let at = |text: &str| nanoseconds(&text.parse().unwrap());
        assert_eq!(at("1970-01-02"), Some(86_400 * SECOND_NS));
        assert_eq!(at("1970-01-02T01:00:00+01:00"), Some(86_400 * SECOND_NS));
        assert_eq!(at("1969-12-31"), None);
        assert_eq!(at("10:00:00"), None);
    }
}
