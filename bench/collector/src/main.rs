//! Measures the collector under a fleet of simulated sensors, each with a certificate, a TLS connection and a stream
//! of its own, all in this process; the collector is a process beside it, whose processor time and memory are counted.
//!
//! Prints a JSON row for each scenario.

mod fleet;
mod load;
mod process;
#[path = "../../flow-log/src/records.rs"]
mod records;
#[path = "../../flow-log/src/size.rs"]
mod size;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::{
    fleet::Fleet,
    load::{Maker, connect_all, percentile},
    process::Collector,
};

/// Sensors, keys and records of history of the first scenario; the others change one of them.
const BASE: (usize, u64, u64) = (1000, 2000, 100_000);
/// Records of a batch of a sensor that catches up: 1 MiB of lines, as a sensor sends.
const FULL: u64 = 900;
/// Sensors that catch up at the same time.
const CATCHING_UP: usize = 64;
/// Records of a batch of a sensor that is up to date, and how often it sends one.
const SMALL: u64 = 20;
const EVERY: Duration = Duration::from_secs(1);
/// Time that a collector has to become idle: its processor time stands still, but for its ticks.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// The collector
    #[arg(long)]
    program: PathBuf,
    /// Folder for its state; a new one below it is used and removed
    #[arg(long)]
    folder: PathBuf,
    /// Folder that keeps certificates for the next time
    #[arg(long)]
    certificates: PathBuf,
    /// Seconds of the load of sensors that are up to date
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Measure the first scenario only
    #[arg(long)]
    short: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A connection takes a descriptor on both sides; the collector inherits the limit.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot raise the limit of open files")?;
    let (sensors, keys, history) = BASE;
    let fleet = Fleet::open(&arguments.certificates, sensors)?;
    let mut scenarios = vec![("base", BASE)];
    if !arguments.short {
        scenarios.extend([
            ("sensors / 10", (sensors / 10, keys, history)),
            ("keys x 10", (sensors, 10 * keys, history)),
            ("history x 10", (sensors, keys, 10 * history)),
        ]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (name, scenario) in scenarios {
        let folder = arguments.folder.join(format!("bench-collector-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let measured = runtime.block_on(measure(&arguments, &fleet, &folder, scenario));
        std::fs::remove_dir_all(&folder)?;
        let mut row = measured?;
        row["row"] = json!("scenario");
        row["name"] = json!(name);
        println!("{row}");
    }
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    fleet: &Fleet,
    folder: &Path,
    (sensors, keys, history): (usize, u64, u64),
) -> Result<Value> {
    let mut maker = Maker::new(sensors, keys);
    let mut collector = Collector::start(&arguments.program, folder, fleet)?;
    let catch_up = catch_up(&collector, fleet, &mut maker, sensors, history).await?;
    collector.stop()?;
    let disk = size::size(&folder.join("records"))?;
    let begun = Instant::now();
    collector = Collector::start(&arguments.program, folder, fleet)?;
    let start_ms = begun.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(SETTLE).await;
    let alone = collector.memory()?;
    let connected = connect_all(&collector, fleet, sensors).await?;
    let connected = load::each_once(connected, &mut maker).await?;
    tokio::time::sleep(SETTLE).await;
    let with_sensors = collector.memory()?;
    let rounds = maker.rounds(sensors, SMALL, arguments.seconds);
    let (cpu, begun) = (collector.cpu()?, Instant::now());
    let mut acks = load::steady(connected, rounds, EVERY).await?;
    let (cpu, wall) = (collector.cpu()? - cpu, begun.elapsed());
    let live = sensors as u64 * SMALL * u64::from(arguments.seconds);
    let peak = collector.memory()?;
    collector.stop()?;
    Ok(json!({
        "sensors": sensors, "keys": keys, "history": history,
        "catch_up": catch_up,
        "live": {
            "records": live, "batch": SMALL, "wall_s": wall.as_secs_f64(), "cpu_s": cpu.as_secs_f64(),
            "per_second_per_core": live as f64 / cpu.as_secs_f64(),
            "ack_p50_ms": percentile(&mut acks, 0.5), "ack_p99_ms": percentile(&mut acks, 0.99),
            "ack_max_ms": percentile(&mut acks, 1.0),
        },
        "bytes_per_record": disk as f64 / history as f64,
        "bytes_per_sensor": with_sensors.saturating_sub(alone) as f64 / sensors as f64,
        "memory_alone": alone, "memory_with_sensors": with_sensors, "memory_after_load": peak,
        "start_ms": start_ms,
    }))
}

/// Sensors that were away send full batches, one after the other is acknowledged.
async fn catch_up(
    collector: &Collector,
    fleet: &Fleet,
    maker: &mut Maker,
    sensors: usize,
    history: u64,
) -> Result<Value> {
    let at_once = sensors.min(CATCHING_UP);
    let connected = connect_all(collector, fleet, at_once).await?;
    let each = history.div_ceil(FULL * at_once as u64);
    let mut work = Vec::new();
    let mut left = history;
    for sensor in 0..at_once {
        let mut batches = Vec::new();
        for _ in 0..each {
            let count = FULL.min(left);
            left -= count;
            if count > 0 {
                batches.push(maker.batch(sensor, count)?);
            }
        }
        work.push(batches);
    }
    let raw = maker.raw_bytes();
    let (cpu, begun) = (collector.cpu()?, Instant::now());
    let mut acks = load::as_fast_as_acknowledged(connected, work).await?;
    let (cpu, wall) = (collector.cpu()? - cpu, begun.elapsed());
    Ok(json!({
        "records": history, "batch": FULL, "raw_bytes": raw, "wall_s": wall.as_secs_f64(), "cpu_s": cpu.as_secs_f64(),
        "per_second": history as f64 / wall.as_secs_f64(),
        "per_second_per_core": history as f64 / cpu.as_secs_f64(),
        "ack_p50_ms": percentile(&mut acks, 0.5), "ack_p99_ms": percentile(&mut acks, 0.99),
    }))
}
