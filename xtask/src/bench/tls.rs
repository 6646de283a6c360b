//! TLS tax: CPU of an nginx worker per request, with and without observers.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::nginx::{Nginx, Window};
use super::observer::{Observer, Variant};
use super::rounds::{Figures, order};
use super::rows::{Rows, table};
use super::{Bench, procfs};
use crate::shell::say;

/// Load without any observer before each round, until the rate is steady.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the observer's start counts as its first seconds.
const FIRST_SECONDS: usize = 3;
/// Load that goes on longer than the measurement, so that it never ends within.
const SPARE: Duration = Duration::from_secs(60);
/// Programs of the library that the peer counts; what tracing tools commonly attach to.
const PEER_PROGRAM: &str =
    "uprobe:LIB:SSL_write, uprobe:LIB:SSL_read, uretprobe:LIB:SSL_read { @[probe] = count(); }";

/// What one variant showed in one round.
struct Outcome {
    seconds: Vec<Window>,
    steady: Window,
}

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let nginx = Nginx::start(&bench.interrupt)?;
    let library = nginx.tls_library()?;
    let peer = format!("exec bpftrace -e '{}'", PEER_PROGRAM.replace("LIB", &library));
    let variants = bench.variants(vec![Variant { name: "bpftrace".into(), command: Some(peer) }])?;
    let (mut steady, mut first, mut rate) =
        (Figures::new(&variants), Figures::new(&variants), Figures::new(&variants));
    for round in 0..bench.args.rounds {
        say(format_args!("tls: round {} of {}", round + 1, bench.args.rounds));
        for index in order(round, variants.len()) {
            let Some(variant) = variants.get(index) else { continue };
            let steal = procfs::steal_ticks();
            let outcome = once(bench, &nginx, variant)?;
            let seconds: Vec<f64> = outcome.seconds.iter().map(|window| window.us_per_request).collect();
            let start = seconds.iter().take(FIRST_SECONDS);
            first.add(index, start.clone().sum::<f64>() / start.len() as f64);
            steady.add(index, outcome.steady.us_per_request);
            rate.add(index, outcome.steady.rate);
            rows.add(&json!({
                "row": "tls", "round": round, "observer": variant.name, "us_per_request": outcome.steady.us_per_request,
                "requests_per_second": outcome.steady.rate, "warm_up_us_per_request": seconds,
                "steal_ticks": steal.zip(procfs::steal_ticks()).map(|(before, after)| after.saturating_sub(before)),
            }))?;
        }
    }
    let lines: Vec<Vec<String>> = variants
        .iter()
        .enumerate()
        .map(|(index, variant)| {
            let mut line = vec![variant.name.clone()];
            line.extend(steady.cells(index));
            line.extend(first.cells(index).into_iter().take(2));
            line.push(rate.median(index).map_or("-".into(), |rate| format!("{rate:.0}")));
            line
        })
        .collect();
    let title = format!(
        "CPU of a TLS server's worker per request: {} rounds of {} s after {} s under load, medians, ratios within rounds",
        bench.args.rounds, bench.args.seconds, bench.args.warm_up
    );
    let header = ["observer", "us/request", "added", "95 % interval", "first 3 s", "added", "requests/s"];
    println!("{}", table(&title, &header, &lines));
    Ok(())
}

/// One variant in one round: load, observer, warm-up by the second, then the steady state.
fn once(bench: &Bench<'_>, nginx: &Nginx, variant: &Variant) -> Result<Outcome> {
    let steady = Duration::from_secs(bench.args.seconds);
    let _load = nginx.load(SETTLE + bench.warm_up() + steady + SPARE)?;
    bench.interrupt.pause(SETTLE)?;
    let mut sample = nginx.sample()?;
    let mut observer = variant.start(nginx.folder())?;
    let mut seconds = Vec::new();
    for _ in 0..bench.args.warm_up {
        bench.interrupt.pause(Duration::from_secs(1))?;
        let later = nginx.sample()?;
        seconds.push(sample.until(&later)?);
        sample = later;
        observer.as_mut().map(Observer::check).transpose()?;
    }
    bench.interrupt.pause(steady)?;
    let steady = sample.until(&nginx.sample()?)?;
    observer.map(Observer::stop).transpose()?;
    Ok(Outcome { seconds, steady })
}
