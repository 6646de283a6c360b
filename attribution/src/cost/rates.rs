//! Prices of one model and what tokens cost at them.

use proto::v1::Tokens;

/// Largest believable price, nano-dollars for a million tokens: a million dollars.
pub(super) const MAX_RATE: u64 = 1_000_000 * 1_000_000_000;
/// Tokens that a price is for.
const MILLION: u128 = 1_000_000;

/// Nano-dollars for a million tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cache_read: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) cache_write_1h: Option<u64>,
    pub(super) reasoning: Option<u64>,
    /// Prices of requests with more input than so many tokens, the smallest number first.
    pub(super) above: Vec<(u64, Rates)>,
}

impl Rates {
    /// Nano-dollars for `tokens`, rounded half up once. Nothing when the input is not known, parts of it
    /// are larger than the whole, or something was used that has no price.
    pub(super) fn amount(&self, tokens: &Tokens, cache_write_1h: u64) -> Option<u64> {
        let input = tokens.input?;
        let above = self.above.iter().rev().find(|(more_than, _)| input > *more_than);
        let rates = above.map_or(self, |(_, rates)| rates);
        let (read, write) = (tokens.cache_read.unwrap_or(0), tokens.cache_write.unwrap_or(0));
        let long = cache_write_1h.min(write);
        let output = tokens.output.unwrap_or(0);
        let reasoning = tokens.reasoning.unwrap_or(0).min(output);
        let write_rate = rates.cache_write.or(rates.input);
        let parts = [
            (input.checked_sub(read)?.checked_sub(write)?, rates.input),
            (read, rates.cache_read.or(rates.input)),
            (write - long, write_rate),
            (long, rates.cache_write_1h.or(write_rate)),
            (output - reasoning, rates.output),
            (reasoning, rates.reasoning.or(rates.output)),
        ];
        let sum = parts.into_iter().try_fold(0u128, |sum, (count, rate)| {
            let rate = if count == 0 { 0 } else { rate? };
            sum.checked_add(u128::from(count).checked_mul(u128::from(rate))?)
        })?;
        u64::try_from(sum.checked_add(MILLION / 2)? / MILLION).ok()
    }
}
