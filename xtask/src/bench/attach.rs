//! Attach latency: from the start of a program in a file that nobody has seen to its probes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::Bench;
use super::rows::{Rows, Scratch, table};
use crate::shell::{run, text};
use crate::workspace;

/// New files for each round.
const FILES: u32 = 10;

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let folder = Scratch::new()?;
    let program = folder.path().join("victim");
    let source = workspace::root().join("tests/clients/victim.c");
    run(Command::new("cc").args(["-O2", "-rdynamic", "-pthread", "-o"]).args([&program, &source]))?;
    let mut observer = bench.sensor.start(folder.path())?;
    bench.interrupt.pause(bench.warm_up())?;
    let mut all = Vec::new();
    for number in 0..bench.args.rounds * FILES {
        let ms = once(&program, &folder.path().join(format!("new-{number}")))?;
        rows.add(&json!({ "row": "attach", "number": number, "ms": ms }))?;
        all.push(ms);
        observer.as_mut().map(super::observer::Observer::check).transpose()?;
    }
    observer.map(super::observer::Observer::stop).transpose()?;
    all.sort_by(f64::total_cmp);
    let at =
        |percent: usize| all.get((all.len() - 1) * percent / 100).map_or("-".into(), |ms| format!("{ms:.1}"));
    let line = vec![all.len().to_string(), at(50), at(99), at(100)];
    println!(
        "{}",
        table(
            "From the start of a new program to its probes",
            &["files", "p50 ms", "p99 ms", "most"],
            &[line]
        )
    );
    Ok(())
}

/// Runs a copy of `program`, a file of its own, until it finds a breakpoint in itself; milliseconds.
fn once(program: &Path, copy: &Path) -> Result<f64> {
    fs::copy(program, copy).with_context(|| format!("cannot write {}", copy.display()))?;
    let now = clock_gettime(ClockId::Monotonic);
    let started = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let told = text(Command::new(copy).args(["wait", &started.to_string()]))?;
    let told: Value = serde_json::from_str(&told)?;
    if told["probed"] != 1 {
        bail!("the program was not probed: {told}");
    }
    Ok(told["ns"].as_f64().unwrap_or_default() / 1e6)
}
