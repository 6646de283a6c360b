//! Open tax: CPU per open and close of a file that nobody watches, with and without observers.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::observer::{Observer, Variant};
use super::rounds::{Figures, order};
use super::rows::{Rows, Scratch, table};
use super::{Bench, procfs};
use crate::shell::{find, say};

/// Opens before each measurement, not counted.
const PRELUDE: u32 = 50_000;
/// The peer from libbpf-tools: it says what each open was.
const PEER: &str = "opensnoop";

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let peer = find(PEER)
        .map(|path| Variant { name: PEER.into(), command: Some(format!("exec {}", path.display())) });
    let variants = bench.variants(peer.into_iter().collect())?;
    let folder = Scratch::new()?;
    let file = folder.path().join("unrelated");
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    let (mut own, mut beside) = (Figures::new(&variants), Figures::new(&variants));
    for round in 0..bench.args.rounds {
        say(format_args!("opens: round {} of {}", round + 1, bench.args.rounds));
        for index in order(round, variants.len()) {
            let Some(variant) = variants.get(index) else { continue };
            let steal = procfs::steal_ticks();
            let mut observer = variant.start(folder.path())?;
            // The base waits as long as the others, so that the machine is in the same state.
            bench.interrupt.pause(bench.warm_up())?;
            open(&file, PRELUDE)?;
            let observer_ns = |observer: &Option<Observer>| observer.as_ref().map_or(Ok(0), Observer::cpu_ns);
            let (before, beside_before) = (procfs::own_cpu_ns()?, observer_ns(&observer)?);
            open(&file, bench.args.opens)?;
            let (after, beside_after) = (procfs::own_cpu_ns()?, observer_ns(&observer)?);
            observer.as_mut().map(Observer::check).transpose()?;
            observer.map(Observer::stop).transpose()?;
            let each = |ns: u64| ns as f64 / 1000.0 / f64::from(bench.args.opens);
            let us = each(after.saturating_sub(before));
            let beside_us = each(beside_after.saturating_sub(beside_before));
            own.add(index, us);
            beside.add(index, beside_us);
            rows.add(&json!({
                "row": "opens", "round": round, "observer": variant.name, "opens": bench.args.opens,
                "us_per_open": us, "observer_us_per_open": beside_us,
                "steal_ticks": steal.zip(procfs::steal_ticks()).map(|(before, after)| after.saturating_sub(before)),
            }))?;
        }
    }
    let lines: Vec<Vec<String>> = variants
        .iter()
        .enumerate()
        .map(|(index, variant)| {
            let mut line = vec![variant.name.clone()];
            line.extend(own.cells(index));
            line.push(beside.median(index).map_or("-".into(), |us| format!("{us:.2}")));
            line
        })
        .collect();
    let title = format!(
        "CPU per open and close of an unrelated file: {} rounds of {} opens, medians, ratios within rounds",
        bench.args.rounds, bench.args.opens
    );
    let header = ["observer", "us/open", "added", "95 % interval", "observer's own us"];
    println!("{}", table(&title, &header, &lines));
    Ok(())
}

fn open(path: &Path, count: u32) -> Result<()> {
    for _ in 0..count {
        drop(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = open(Path::new("/no/such/file"), 1).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"));
    }
}
