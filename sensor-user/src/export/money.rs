//! Exact sums of the decimal amounts in records.

use std::fmt;

/// Decimal places that are kept; more are cut off.
const PLACES: u32 = 12;

/// An amount of money, never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount(u128);

impl Amount {
    /// Reads a decimal number; nothing when it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
            return None;
        }
        let places = usize::try_from(PLACES).ok()?;
        let part: String = part.chars().chain(std::iter::repeat('0')).take(places).collect();
        format!("0{whole}{part}").parse().ok().map(Self)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10u128.pow(PLACES);
        let text = format!("{}.{:012}", self.0 / one, self.0 % one);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact() {
        let mut sum = Amount::default();
        for _ in 0..10 {
            sum.add(Amount::parse("0.1").unwrap());
        }
        assert_eq!(sum.to_string(), "1");
        sum.add(Amount::parse("0.000000000001").unwrap());
        assert_eq!(sum.to_string(), "1.000000000001");
        assert_eq!((Amount::parse("x"), Amount::parse(""), Amount::parse("-1")), (None, None, None));
    }
}
