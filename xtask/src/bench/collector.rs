//! The collector under a fleet of simulated sensors; `bench/collector` measures, this shows.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::rows::{Rows, Scratch, table};
use crate::shell::{run as must_run, say, text};
use crate::workspace;

/// The program that measures, and the one that is measured.
const PACKAGES: [&str; 2] = ["bench-collector", "keywitness-collector"];
/// Certificates of the simulated sensors, below the folder of raw rows.
const CERTIFICATES: &str = "bench/certificates";

/// Runs the measurement and prints its tables.
pub(super) fn measure(_: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    run(rows)
}

/// The same, without anything that watches the kernel.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    say("building the collector and its benchmark");
    let [measures, measured] = PACKAGES;
    must_run(workspace::cargo("build").args(["--release", "--package", measures, "--package", measured]))?;
    let folder = Scratch::new()?;
    let mut command = std::process::Command::new(workspace::executable(measures, true));
    command.arg("--program").arg(workspace::executable(measured, true));
    command.arg("--folder").arg(folder.path());
    command.arg("--certificates").arg(workspace::target_dir().join(CERTIFICATES));
    let (mut speed, mut size) = (Vec::new(), Vec::new());
    for line in text(&mut command)?.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| format!("not a row: {line}"))?;
        rows.add(&row)?;
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        let cell = |value: &Value, divisor: f64| format!("{:.1}", value.as_f64().unwrap_or(0.0) / divisor);
        let (live, away) = (&row["live"], &row["catch_up"]);
        let mut cells = vec![name.clone()];
        for part in [away, live] {
            cells.push(cell(&part["per_second_per_core"], 1e3));
            cells.push(cell(&part["ack_p50_ms"], 1.0));
            cells.push(cell(&part["ack_p99_ms"], 1.0));
        }
        speed.push(cells);
        size.push(vec![
            name,
            cell(&row["bytes_per_sensor"], 1024.0),
            cell(&row["memory_alone"], 1024.0 * 1024.0),
            cell(&row["memory_after_load"], 1024.0 * 1024.0),
            cell(&row["bytes_per_record"], 1.0),
            cell(&row["start_ms"], 1.0),
        ]);
    }
    let header =
        ["", "catching up: k/s/core", "ack p50 ms", "p99 ms", "up to date: k/s/core", "ack p50 ms", "p99 ms"];
    println!("{}", table("collector: 1000 sensors, 2000 keys, 100,000 records", &header, &speed));
    let header = [
        "",
        "KiB per sensor",
        "MiB without sensors",
        "MiB after load",
        "bytes per record on disk",
        "start ms",
    ];
    println!("{}", table("collector: size", &header, &size));
    Ok(())
}
