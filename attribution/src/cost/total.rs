//! Sums over calls: tokens and money.

use proto::v1::{Cost, ModelCall, Tokens};

use super::{CURRENCY, basis, dollars, nano};

/// What several values have in common, where it is not the same.
pub const MIXED: &str = "mixed";

/// What a number of calls took. Sums stop at the largest number instead of beginning anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// Calls.
    pub calls: u64,
    /// Tokens read, cached ones included; absent when no call said.
    pub input: Option<u64>,
    /// Tokens written.
    pub output: Option<u64>,
    /// Of the input, read from a cache.
    pub cache_read: Option<u64>,
    /// Of the input, written to a cache.
    pub cache_write: Option<u64>,
    /// Of the output, reasoning.
    pub reasoning: Option<u64>,
    /// Quality of the counts, or `mixed`.
    quality: String,
    /// Nano-dollars of the calls that have an amount.
    pub nano: Option<u64>,
    /// Basis of the amounts, or `mixed`.
    basis: String,
    /// Calls paid by subscription.
    pub subscription: u64,
    /// Calls that may have cost something nobody knows: they spend tokens and have neither amount nor
    /// subscription.
    pub unpriced: u64,
}

impl Total {
    /// Adds one call.
    pub fn add(&mut self, call: &ModelCall) {
        self.calls = self.calls.saturating_add(1);
        if let Some(tokens) = &call.tokens {
            for (sum, count) in [
                (&mut self.input, tokens.input),
                (&mut self.output, tokens.output),
                (&mut self.cache_read, tokens.cache_read),
                (&mut self.cache_write, tokens.cache_write),
                (&mut self.reasoning, tokens.reasoning),
            ] {
                add(sum, count);
            }
            common(&mut self.quality, &tokens.quality);
        }
        let amount = call.cost.as_ref().and_then(|cost| nano(&cost.amount));
        match (&call.cost, amount) {
            (Some(cost), Some(amount)) => {
                add(&mut self.nano, Some(amount));
                common(&mut self.basis, &cost.basis);
            }
            (Some(cost), None) if cost.basis == basis::SUBSCRIPTION => self.subscription += 1,
            _ => self.unpriced += u64::from(call.tokens.is_some()),
        }
    }

    /// Input and output together.
    pub fn tokens_in_all(&self) -> u64 {
        self.input.unwrap_or(0).saturating_add(self.output.unwrap_or(0))
    }

    /// Dollars as a decimal string; empty when no call has an amount.
    pub fn dollars(&self) -> String {
        self.nano.map(dollars).unwrap_or_default()
    }

    /// The tokens as records hold them, when there are any.
    pub fn tokens(&self) -> Option<Tokens> {
        (!self.quality.is_empty()).then(|| Tokens {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            reasoning: self.reasoning,
            quality: self.quality.clone(),
        })
    }

    /// The money as records hold it, when there is any.
    pub fn cost(&self) -> Option<Cost> {
        match self.nano {
            Some(nano) => Some(Cost {
                amount: dollars(nano),
                currency: CURRENCY.to_owned(),
                basis: self.basis.clone(),
                ..Cost::default()
            }),
            None if self.subscription > 0 => {
                Some(Cost { basis: basis::SUBSCRIPTION.to_owned(), ..Cost::default() })
            }
            None => None,
        }
    }
}

fn add(sum: &mut Option<u64>, count: Option<u64>) {
    if let Some(count) = count {
        *sum = Some(sum.unwrap_or(0).saturating_add(count));
    }
}

fn common(known: &mut String, value: &str) {
    if known.is_empty() {
        value.clone_into(known);
    } else if known != value {
        MIXED.clone_into(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(input: u64, quality: &str, cost: Option<(&str, &str)>) -> ModelCall {
        ModelCall {
            tokens: Some(Tokens { input: Some(input), quality: quality.into(), ..Default::default() }),
            cost: cost.map(|(amount, basis)| Cost {
                amount: amount.into(),
                basis: basis.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn sums_say_what_they_are_made_of() {
        let mut total = Total::default();
        assert_eq!((total.tokens(), total.cost(), total.dollars()), (None, None, String::new()));
        total.add(&call(1, "exact", Some(("", "subscription"))));
        assert_eq!(total.cost().unwrap().basis, "subscription");
        total.add(&call(2, "exact", Some(("0.1", "list_price"))));
        assert_eq!(total.cost().unwrap().basis, "list_price");
        total.add(&call(4, "header", Some(("0.25", "reported"))));
        total.add(&call(8, "exact", None));
        total.add(&ModelCall::default());
        assert_eq!((total.calls, total.subscription, total.unpriced), (5, 1, 1));
        let cost = total.cost().unwrap();
        assert_eq!((cost.amount.as_str(), cost.basis.as_str()), ("0.35", MIXED));
        let tokens = total.tokens().unwrap();
        assert_eq!((tokens.input, tokens.output, tokens.quality.as_str()), (Some(15), None, MIXED));
        total.add(&call(u64::MAX, "exact", None));
        assert_eq!(total.input, Some(u64::MAX));
    }
}
