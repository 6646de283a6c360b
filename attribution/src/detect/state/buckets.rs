//! Amounts by hour or day.

/// One hour, nanoseconds.
pub(in crate::detect) const HOUR_NS: u64 = 3_600_000_000_000;
/// One day of 24 hours, nanoseconds. Days begin at midnight UTC.
pub(in crate::detect) const DAY_NS: u64 = 24 * HOUR_NS;

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::detect) struct Amount {
    /// Calls.
    pub(in crate::detect) calls: u64,
    /// Tokens, input and output.
    pub(in crate::detect) tokens: u64,
    /// Money, nanodollars.
    pub(in crate::detect) nanos: u64,
}

impl Amount {
    /// Adds `other`.
    pub(in crate::detect) fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.nanos = self.nanos.saturating_add(other.nanos);
    }

    /// The sum of `all`.
    pub(in crate::detect) fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum.add(one);
            sum
        })
    }
}

/// Amounts of the latest `N` periods in which anything was used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct Buckets<const N: usize> {
    latest: Option<(u32, Amount)>,
    /// Those before it, oldest first.
    earlier: Vec<(u32, Amount)>,
}

impl<const N: usize> Buckets<N> {
    /// Adds to the period `index`.
    pub(in crate::detect) fn add(&mut self, index: u32, amount: Amount) {
        match &mut self.latest {
            Some((known, sum)) if *known == index => sum.add(amount),
            Some((known, _)) if *known > index => self.add_earlier(index, amount),
            latest => {
                if let Some((before, sum)) = latest.replace((index, amount)) {
                    self.add_earlier(before, sum);
                }
            }
        }
    }

    fn add_earlier(&mut self, index: u32, amount: Amount) {
        let full = self.earlier.len() + 1 >= N;
        match self.earlier.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, sum)) = self.earlier.get_mut(at) {
                    sum.add(amount);
                }
            }
            Err(0) if full => {}
            Err(at) if full => {
                self.earlier.remove(0);
                self.earlier.insert(at - 1, (index, amount));
            }
            Err(at) => self.earlier.insert(at, (index, amount)),
        }
    }

    /// The periods and their amounts, oldest first.
    pub(in crate::detect) fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, Amount)> {
        self.earlier.iter().copied().chain(self.latest)
    }

    /// What was used in the periods `from` and later.
    pub(in crate::detect) fn since(&self, from: u32) -> Amount {
        Amount::sum(self.iter().rev().take_while(|(index, _)| *index >= from).map(|(_, amount)| amount))
    }

    /// Adds `other`.
    pub(in crate::detect) fn merge(&mut self, other: &Self) {
        for (index, amount) in other.iter() {
            self.add(index, amount);
        }
    }
}

/// The period of `width` nanoseconds that `time` lies in.
pub(in crate::detect) fn period(time: u64, width: u64) -> u32 {
    u32::try_from(time / width).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(days: &[u32]) -> Buckets<5> {
        let mut buckets = Buckets::default();
        for day in days {
            buckets.add(*day, Amount { calls: 1, ..Amount::default() });
        }
        buckets
    }

    proptest! {
        #[test]
        fn the_latest_periods_are_kept_in_any_order(
            (days, shuffled, cut) in prop::collection::vec(0..12u32, 0..40).prop_flat_map(|days| {
                let len = days.len();
                (Just(days.clone()), Just(days).prop_shuffle(), 0..=len)
            })
        ) {
            let whole = of(&days);
            prop_assert_eq!(&of(&shuffled), &whole);
            let mut merged = of(&shuffled[..cut]);
            merged.merge(&of(&shuffled[cut..]));
            prop_assert_eq!(&merged, &whole);
        }
    }

    #[test]
    fn sums_begin_at_a_period() {
        assert_eq!(of(&[1, 2, 2, 5]).since(2).calls, 3);
        assert_eq!(period(DAY_NS * 3 - 1, DAY_NS), 2);
    }
}
