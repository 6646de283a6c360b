//! The flow log beside the stores it was chosen over; `bench/flow-log` measures, this shows.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::rows::{Rows, Scratch, table};
use super::{Bench, stats};
use crate::shell::{say, text};
use crate::workspace;

const PACKAGE: &str = "bench-flow-log";
/// Whose `observe` is measured on a large log.
const SENSOR: (&str, &str) = ("sensor-user", "keywitness");

/// Runs the benchmark and shows medians with their intervals.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    say("building the benchmark of the flow log and the stores beside it");
    let (package, keywitness) = SENSOR;
    crate::shell::run(workspace::cargo("build").args([
        "--release",
        "--package",
        PACKAGE,
        "--package",
        package,
        "--bin",
        PACKAGE,
        "--bin",
        keywitness,
    ]))?;
    let folder = Scratch::new()?;
    let mut command = std::process::Command::new(workspace::executable(PACKAGE, true));
    command.arg("--folder").arg(folder.path()).args(["--rounds", &bench.args.rounds.to_string()]);
    command.arg("--keywitness").arg(workspace::executable(keywitness, true));
    let output = text(&mut command)?;
    let mut values: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for line in output.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| format!("not a row: {line}"))?;
        rows.add(&row)?;
        let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let what = word("store") + &word("what");
        for unit in ["per_second", "bytes_each", "ms"] {
            if let Some(value) = row[unit].as_f64() {
                let name = format!("{} {what}", word("row")).trim_end().to_owned();
                values.entry((name, unit.to_owned())).or_default().push(value);
            }
        }
    }
    let lines: Vec<Vec<String>> = values
        .iter()
        .filter_map(|((name, unit), values)| {
            let found = stats::estimate(values)?;
            let cell = |value: f64| format!("{value:.1}");
            Some(vec![name.clone(), unit.clone(), cell(found.median), cell(found.low), cell(found.high)])
        })
        .collect();
    println!("{}", table("flow log", &["what", "unit", "median", "low", "high"], &lines));
    Ok(())
}
