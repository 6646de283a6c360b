//! Exact decimal numbers, as JSON and headers write them.

/// Most significant digits that are looked at.
const MAX_DIGITS: usize = 24;
/// Largest power of ten in either direction.
const MAX_POWER: i32 = 60;

/// `text` times ten to the power of `shift`, rounded half up; nothing for negative, malformed or too large numbers.
pub(crate) fn scaled(text: &str, shift: i32) -> Option<u64> {
    let text = text.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let kept = digits.get(..digits.len().min(MAX_DIGITS))?;
    let value: u128 = kept.parse().ok()?;
    let dropped = i32::try_from(digits.len() - kept.len()).ok()?;
    let fraction = i32::try_from(fraction.len()).ok()?;
    let power = exponent.checked_add(shift)?.checked_add(dropped)?.checked_sub(fraction)?;
    if power.abs() > MAX_POWER {
        return (power < 0).then_some(0);
    }
    let factor = 10u128.checked_pow(power.unsigned_abs());
    let value = match (power >= 0, factor) {
        (true, factor) => value.checked_mul(factor?)?,
        (false, Some(factor)) => value.checked_add(factor / 2)? / factor,
        (false, None) => 0,
    };
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn numbers_are_exact() {
        for (text, shift, value) in [
            ("12", 0, Some(12)),
            ("12.0", 0, Some(12)),
            ("0.000123456789", 9, Some(123_457)),
            ("1.5e-3", 9, Some(1_500_000)),
            ("2E2", 0, Some(200)),
            ("12345678901", -1, Some(1_234_567_890)),
            ("15", -1, Some(2)),
            ("0", 9, Some(0)),
            ("0.00", 9, Some(0)),
            ("-1", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("nan", 0, None),
            ("1e999", 0, None),
            ("1e-999", 9, Some(0)),
            ("99999999999999999999999999999", 0, None),
            ("18446744073709551615", 0, Some(u64::MAX)),
            ("1e2147483647", 9, None),
        ] {
            assert_eq!(scaled(text, shift), value, "{text} {shift}");
        }
    }
}
