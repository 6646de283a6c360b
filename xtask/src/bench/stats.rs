//! Medians and their intervals.

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;
/// Start of the generator: the same rows always give the same interval.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A median with its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The median.
    pub(super) median: f64,
    /// The 2.5 % quantile of the resampled medians.
    pub(super) low: f64,
    /// The 97.5 % quantile of the resampled medians.
    pub(super) high: f64,
}

/// The median; nothing for no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(middle.checked_sub(1)?).map(|lower| f64::midpoint(*lower, upper))
}

/// The median and how far it can be trusted; nothing for no values.
pub(super) fn estimate(values: &[f64]) -> Option<Estimate> {
    let mut state = SEED;
    let mut medians = Vec::with_capacity(RESAMPLES);
    let mut sample = vec![0.0; values.len()];
    for _ in 0..RESAMPLES {
        for slot in &mut sample {
            *slot = *values.get(below(&mut state, values.len()))?;
        }
        medians.push(median(&sample)?);
    }
    medians.sort_by(f64::total_cmp);
    let at = |share: usize| medians.get(RESAMPLES * share / 1000).copied();
    Some(Estimate { median: median(values)?, low: at(25)?, high: at(975)? })
}

/// The next number of a xorshift generator, below a limit that is small against 2^64.
fn below(state: &mut u64, limit: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from((*state >> 32) % limit.max(1) as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_in_any_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn interval_holds_the_median_and_ignores_one_outlier() {
        let mut values: Vec<f64> = (0..20).map(|step| 1.0 + f64::from(step) / 1000.0).collect();
        values.push(9.0);
        let estimate = estimate(&values).unwrap();
        assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
        assert!(estimate.low < estimate.high && estimate.high < 1.1, "{estimate:?}");
    }

    #[test]
    fn equal_values_have_no_spread_and_no_values_no_estimate() {
        assert_eq!(estimate(&[2.0; 5]), Some(Estimate { median: 2.0, low: 2.0, high: 2.0 }));
        assert_eq!(estimate(&[]), None);
    }
}
