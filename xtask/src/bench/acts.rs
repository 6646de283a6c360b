//! CPU of this process per act of its own, with and without observers.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, json};

use super::observer::{Observer, Variant};
use super::rounds::{self, Shown};
use super::rows::{Rows, table};
use super::{Bench, procfs};

/// What is done.
pub(super) struct Acts<'a> {
    /// Name of the measurement.
    pub(super) name: &'a str,
    /// One act, in names of figures.
    pub(super) act: &'a str,
    /// Many of them, in names of figures.
    pub(super) acts: &'a str,
    /// One act, in the title of the table.
    pub(super) meaning: &'a str,
    /// Acts before each measurement, not counted.
    pub(super) prelude: u32,
    /// Acts of each measurement.
    pub(super) count: u32,
}

impl Acts<'_> {
    /// Runs the measurement and prints its table; `work` does so many acts. Observers run in `folder`.
    pub(super) fn measure(
        &self,
        bench: &Bench<'_>,
        rows: &mut Rows,
        variants: &[Variant],
        folder: &Path,
        mut work: impl FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        let [own, beside] = rounds::measure(bench, self.name, variants, rows, |variant| {
            self.once(bench, variant, folder, &mut work)
        })?;
        let lines = rounds::lines(variants, |index| {
            let mut cells = own.cells(index).to_vec();
            cells.push(beside.median(index).map_or("-".into(), |us| format!("{us:.2}")));
            cells
        });
        let title = format!(
            "CPU per {}: {} rounds of {} {}, medians, ratios within rounds",
            self.meaning, bench.args.rounds, self.count, self.acts
        );
        let per_act = format!("us/{}", self.act);
        let header = ["observer", &per_act, "added", "95 % interval", "observer's own us"];
        println!("{}", table(&title, &header, &lines));
        Ok(())
    }

    fn once(
        &self,
        bench: &Bench<'_>,
        variant: &Variant,
        folder: &Path,
        work: &mut impl FnMut(u32) -> Result<()>,
    ) -> Result<Shown<2>> {
        let mut observer = variant.start(folder)?;
        // The base waits as long as the others, so that the machine is in the same state.
        bench.interrupt.pause(bench.warm_up())?;
        work(self.prelude)?;
        let observer_ns = |observer: &Option<Observer>| observer.as_ref().map_or(Ok(0), Observer::cpu_ns);
        let (before, beside_before) = (procfs::own_cpu_ns()?, observer_ns(&observer)?);
        work(self.count)?;
        let (after, beside_after) = (procfs::own_cpu_ns()?, observer_ns(&observer)?);
        observer.as_mut().map(Observer::check).transpose()?;
        observer.map(Observer::stop).transpose()?;
        let each = |ns: u64| ns as f64 / 1000.0 / f64::from(self.count);
        let us = each(after.saturating_sub(before));
        let beside_us = each(beside_after.saturating_sub(beside_before));
        let row = Map::from_iter([
            (self.acts.to_owned(), json!(self.count)),
            (format!("us_per_{}", self.act), json!(us)),
            (format!("observer_us_per_{}", self.act), json!(beside_us)),
        ]);
        Ok(Shown { figures: [us, beside_us], row })
    }
}
