//! What the sensor adds to a call of a model, as the calling program sees it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::Bench;
use super::rounds::{self, Shown};
use super::rows::{Rows, Scratch, table};
use crate::shell::{run, say, text};
use crate::{setup, workspace};

/// The programs that call, as [`PROGRAM`] names them, and how they are read.
const CLIENTS: [(&str, &str); 2] =
    [("python", "Python, OpenSSL: at the library"), ("rustls", "Rust, rustls: at AES-GCM")];
/// Makes the calls.
const PROGRAM: &str = "timed-calls";
/// Calls of each client in each round.
const CALLS: &str = "2000";
/// The first calls of a connection, which open it and warm up the client; not counted.
const FIRST: usize = 100;

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    setup::ensure(&setup::Args { tests: true, ..setup::Args::default() })?;
    say("calls: building the clients");
    let package = ["build", "--release", "--package", "keywitness-tests", "--bins"];
    run(workspace::cargo(package[0]).args(&package[1..]))?;
    let folder = Scratch::new()?;
    let variants = bench.variants(Vec::new())?;
    let figures = rounds::measure(bench, "calls", &variants, rows, |variant| {
        let mut observer = variant.start(folder.path())?;
        bench.interrupt.pause(bench.warm_up())?;
        let mut calls = Command::new(workspace::executable(PROGRAM, true));
        calls.arg(CALLS).stdin(Stdio::null()).env("CARGO_TARGET_DIR", workspace::target_dir());
        let told: Value = serde_json::from_str(&text(&mut calls)?).context("the clients printed no JSON")?;
        observer.as_mut().map(super::observer::Observer::check).transpose()?;
        observer.map(super::observer::Observer::stop).transpose()?;
        let [python, rustls] = CLIENTS.map(|(name, _)| percentiles(&told[name]));
        let ([python_50, python_99], [rustls_50, rustls_99]) = (python, rustls);
        let row = Map::from_iter([("us".to_owned(), json!({ "python": python, "rustls": rustls }))]);
        Ok(Shown { figures: [python_50, python_99, rustls_50, rustls_99], row })
    })?;
    let mut lines = Vec::new();
    for ((_, client), [half, most]) in CLIENTS.into_iter().zip([[0, 1], [2, 3]]) {
        lines.extend(rounds::lines(&variants, |index| {
            let cells = [half, most].map(|figure| figures[figure].cells(index));
            [vec![client.to_owned()], cells.concat()].concat()
        }));
    }
    let header =
        ["observer", "client", "p50 us", "added", "95 % interval", "p99 us", "added", "95 % interval"];
    let title = format!(
        "Streamed calls on one connection, {CALLS} in each of {} rounds: medians, ratios within rounds",
        bench.args.rounds
    );
    println!("{}", table(&title, &header, &lines));
    Ok(())
}

/// Microseconds that half, and 99 of 100, of the calls took at most.
fn percentiles(taken: &Value) -> [f64; 2] {
    let taken = taken.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut taken: Vec<f64> = taken.iter().skip(FIRST).filter_map(Value::as_f64).collect();
    taken.sort_by(f64::total_cmp);
    let at = |percent: usize| taken.get(taken.len().saturating_sub(1) * percent / 100);
    [50, 99].map(|percent| at(percent).copied().unwrap_or(f64::NAN) / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_leave_out_the_first_calls() {
        let taken: Vec<u64> =
            (0..FIRST as u64).map(|_| 9_000_000).chain((1..=101).map(|us| us * 1000)).collect();
        assert_eq!(percentiles(&json!(taken)), [51.0, 100.0]);
    }
}
