//! Money as integers and as decimal strings.

use crate::usage::scaled;

/// Nano-dollars in a dollar.
const NANO_PER_DOLLAR: u64 = 1_000_000_000;
/// Its power of ten.
const NANO_POWER: i32 = 9;

/// Nano-dollars as a decimal string of dollars.
pub fn dollars(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / NANO_PER_DOLLAR, nano % NANO_PER_DOLLAR);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Nano-dollars of a decimal string of dollars; nothing for what is none.
pub fn nano(dollars: &str) -> Option<u64> {
    scaled(dollars, NANO_POWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_exactly_and_reads_back() {
        for (amount, text) in [
            (0, "0"),
            (1_500_000_000, "1.5"),
            (1, "0.000000001"),
            (2_000_000_000, "2"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(dollars(amount), text);
            assert_eq!(nano(text), Some(amount));
        }
        assert_eq!(nano("free"), None);
    }
}
