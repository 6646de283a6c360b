//! TLS tax: CPU of an nginx worker per request, with and without observers.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, json};

use super::Bench;
use super::nginx::{Nginx, Window};
use super::observer::{Observer, Variant};
use super::rounds::{self, Shown};
use super::rows::{Rows, table};

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
    compare(bench, &nginx, "tls", &variants, rows)
}

/// What each observer costs the server; prints the table.
pub(super) fn compare(
    bench: &Bench<'_>,
    nginx: &Nginx,
    name: &str,
    variants: &[Variant],
    rows: &mut Rows,
) -> Result<()> {
    let [steady, first, rate] = rounds::measure(bench, name, variants, rows, |variant| {
        let Outcome { seconds, steady } = once(bench, nginx, variant)?;
        let seconds: Vec<f64> = seconds.iter().map(|window| window.us_per_request).collect();
        let start = seconds.iter().take(FIRST_SECONDS);
        let first = start.clone().sum::<f64>() / start.len() as f64;
        let row = Map::from_iter([
            ("us_per_request".to_owned(), json!(steady.us_per_request)),
            ("requests_per_second".to_owned(), json!(steady.rate)),
            ("warm_up_us_per_request".to_owned(), json!(seconds)),
        ]);
        Ok(Shown { figures: [steady.us_per_request, first, steady.rate], row })
    })?;
    let lines = rounds::lines(variants, |index| {
        let mut cells = steady.cells(index).to_vec();
        cells.extend(first.cells(index).into_iter().take(2));
        cells.push(rate.median(index).map_or("-".into(), |rate| format!("{rate:.0}")));
        cells
    });
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
