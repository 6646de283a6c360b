//! Interleaved rounds and what they add up to.

use super::observer::Variant;
use super::rows::percent;
use super::stats::{Estimate, estimate, median};

/// One figure per variant and round.
pub(super) struct Figures {
    /// `values[variant][round]`; the first variant is the base.
    values: Vec<Vec<f64>>,
}

/// The order of the variants in a round: forward and backward in turn (ABBA), so that drift cancels out.
pub(super) fn order(round: u32, variants: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..variants).collect() } else { (0..variants).rev().collect() }
}

impl Figures {
    /// No figures yet.
    pub(super) fn new(variants: &[Variant]) -> Self {
        Self { values: vec![Vec::new(); variants.len()] }
    }

    /// Adds the figure of a variant in the current round.
    pub(super) fn add(&mut self, variant: usize, value: f64) {
        if let Some(values) = self.values.get_mut(variant) {
            values.push(value);
        }
    }

    /// The median over the rounds.
    pub(super) fn median(&self, variant: usize) -> Option<f64> {
        median(self.values.get(variant)?)
    }

    /// The ratio to the base of the same round, over the rounds.
    pub(super) fn ratio(&self, variant: usize) -> Option<Estimate> {
        let base = self.values.first()?.iter();
        let ratios: Vec<f64> =
            self.values.get(variant)?.iter().zip(base).map(|(one, base)| one / base).collect();
        estimate(&ratios)
    }

    /// Table cells: median, what is added to the base, and the 95 % interval of that.
    pub(super) fn cells(&self, variant: usize) -> [String; 3] {
        let value = self.median(variant).map_or("-".into(), |value| format!("{value:.2}"));
        match self.ratio(variant) {
            Some(ratio) if variant > 0 => {
                let interval = format!("{} … {}", percent(ratio.low), percent(ratio.high));
                [value, percent(ratio.median), interval]
            }
            _ => [value, "-".into(), "-".into()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Figures {
        Figures::new(&[Variant::none(), Variant { name: "x".into(), command: Some("x".into()) }])
    }

    #[test]
    fn order_turns_round_every_time() {
        assert_eq!(order(0, 3), [0, 1, 2]);
        assert_eq!(order(1, 3), [2, 1, 0]);
        assert_eq!(order(2, 3), [0, 1, 2]);
    }

    #[test]
    fn ratio_pairs_the_rounds_so_that_drift_cancels_out() {
        let mut figures = two();
        for (base, other) in [(10.0, 11.0), (20.0, 22.0), (40.0, 44.0)] {
            figures.add(0, base);
            figures.add(1, other);
        }
        let ratio = figures.ratio(1).unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-9 && (ratio.high - ratio.low).abs() < 1e-9, "{ratio:?}");
        assert_eq!(figures.cells(1), ["22.00", "+10.0 %", "+10.0 % … +10.0 %"]);
        assert_eq!(figures.cells(0), ["20.00", "-", "-"]);
    }

    #[test]
    fn no_rounds_give_no_figure() {
        assert_eq!(two().cells(1), ["-", "-", "-"]);
    }
}
