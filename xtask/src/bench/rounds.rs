//! Interleaved rounds and what they add up to.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::observer::Variant;
use super::rows::{Rows, percent};
use super::stats::{Estimate, estimate, median};
use super::{Bench, procfs};
use crate::shell::say;

/// One figure per variant and round.
pub(super) struct Figures {
    /// `values[variant][round]`; the first variant is the base.
    values: Vec<Vec<f64>>,
}

/// What one variant showed in one round.
pub(super) struct Shown<const N: usize> {
    /// What is compared.
    pub(super) figures: [f64; N],
    /// More members of the raw row.
    pub(super) row: Map<String, Value>,
}

/// Calls `once` with each variant in each round; a raw row for each, and the figures of all rounds.
pub(super) fn measure<const N: usize>(
    bench: &Bench<'_>,
    name: &str,
    variants: &[Variant],
    rows: &mut Rows,
    mut once: impl FnMut(&Variant) -> Result<Shown<N>>,
) -> Result<[Figures; N]> {
    let mut all: [Figures; N] = std::array::from_fn(|_| Figures::new(variants));
    for round in 0..bench.args.rounds {
        say(format_args!("{name}: round {} of {}", round + 1, bench.args.rounds));
        for index in order(round, variants.len()) {
            let Some(variant) = variants.get(index) else { continue };
            let steal = procfs::steal_ticks();
            let Shown { figures, row } = once(variant)?;
            let steal = steal.zip(procfs::steal_ticks()).map(|(before, after)| after.saturating_sub(before));
            for (known, figure) in all.iter_mut().zip(figures) {
                known.add(index, figure);
            }
            let mut whole = Map::new();
            whole.insert("row".into(), json!(name));
            whole.insert("round".into(), json!(round));
            whole.insert("observer".into(), json!(variant.name));
            whole.extend(row);
            whole.insert("steal_ticks".into(), json!(steal));
            rows.add(&Value::Object(whole))?;
        }
    }
    Ok(all)
}

/// Table lines: the name of each variant, and what `cells` says of it.
pub(super) fn lines(variants: &[Variant], cells: impl Fn(usize) -> Vec<String>) -> Vec<Vec<String>> {
    let line = |(index, variant): (usize, &Variant)| [vec![variant.name.clone()], cells(index)].concat();
    variants.iter().enumerate().map(line).collect()
}

/// The order of the variants in a round: forward and backward in turn (ABBA), so that drift cancels out.
fn order(round: u32, variants: usize) -> Vec<usize> {
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
