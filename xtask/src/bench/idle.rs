//! Footprint of the sensor on a quiet machine.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use super::procfs::{self, Memory};
use super::rows::{Rows, Scratch, table};
use super::{Bench, observer::Observer};
use crate::shell::say;

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let folder = Scratch::new()?;
    let Some(mut sensor) = bench.sensor.start(folder.path())? else { bail!("there is no sensor to measure") };
    say(format_args!("idle: {} s to start, {} s of rest", bench.args.warm_up, bench.args.idle));
    bench.interrupt.pause(bench.warm_up())?;
    sensor.check()?;
    let started = sensor.cpu_ns()?;
    let rest = Duration::from_secs(bench.args.idle);
    bench.interrupt.pause(rest)?;
    sensor.check()?;
    let cpu_ns = sensor.cpu_ns()?.saturating_sub(started);
    let memory = whole(&sensor)?;
    sensor.stop()?;
    let percent = cpu_ns as f64 / rest.as_nanos() as f64 * 100.0;
    rows.add(&json!({
        "row": "idle", "observer": bench.sensor.name, "start_cpu_ns": started, "cpu_ns": cpu_ns, "seconds": bench.args.idle,
        "rss_kib": memory.rss, "pss_kib": memory.pss,
    }))?;
    let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
    let start_ms = format!("{:.0}", started as f64 / 1e6);
    let line =
        vec![bench.sensor.name.clone(), mib(memory.rss), mib(memory.pss), format!("{percent:.3}"), start_ms];
    let title = format!("Footprint after {} s of rest (CPU in percent of one)", bench.args.idle);
    println!("{}", table(&title, &["sensor", "RSS MiB", "PSS MiB", "CPU %", "CPU ms to start"], &[line]));
    Ok(())
}

/// The memory of all its processes.
fn whole(sensor: &Observer) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in procfs::group_members(sensor.group())? {
        let one = procfs::memory(pid)?;
        sum = Memory { rss: sum.rss + one.rss, pss: sum.pss + one.pss };
    }
    Ok(sum)
}
