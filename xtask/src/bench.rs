//! `bench`: what the sensor costs others, as ratios of interleaved rounds. Nothing here is a test.

mod acts;
mod attach;
mod calls;
mod collector;
mod connect;
mod detect;
mod idle;
mod log;
mod nginx;
mod observer;
mod opens;
mod procfs;
mod rounds;
mod rows;
mod sites;
mod stats;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::observer::Variant;
use crate::bench::rows::Rows;
use crate::shell::{require_root, say};
use crate::stop::Interrupt;
use crate::{build, mounts, setup, workspace};

/// How to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Rounds; each one measures every observer once, in alternating order
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Folder for the raw rows (JSON lines) [default: target/bench]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Command of the sensor [default: build it and use `keywitness run -o json`]
    #[arg(long, value_name = "COMMAND")]
    sensor: Option<String>,
    /// Another observer to compare with; may be repeated
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<Variant>,
    /// Leave out the peers that come with the benchmark
    #[arg(long)]
    no_peers: bool,
    /// Seconds of load (tls) or of rest (connect, opens) before each measurement, while the observer warms up
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(4..=600))]
    warm_up: u64,
    /// Seconds that each tls measurement takes
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Connections of each connect measurement
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    connections: u32,
    /// Opens of each opens measurement
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1000..=100_000_000))]
    opens: u32,
    /// Seconds of rest that the idle measurement takes
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Server CPU per request of an nginx TLS server that has nothing to do with models
    Tls,
    /// The same, with the same counting program at function entries and at the sites that the sensor chooses
    Sites,
    /// Latency of calls of a model, as the calling program sees it
    Calls,
    /// Time from the start of a program in a new file to its probes
    Attach,
    /// CPU per TCP connection on loopback, opened, accepted and closed
    Connect,
    /// CPU per open and close of a file that nobody watches
    Opens,
    /// Memory and CPU of the sensor on a quiet machine
    Idle,
    /// The flow log: appending, size and reading, beside SQLite, redb, fjall and yaque
    Log,
    /// Records a second and memory of the detector, beside DuckDB
    Detect,
    /// The collector under 1000 sensors with certificates: records a second, acknowledgements, memory, disk
    Collector,
    /// All of them
    All,
}

/// What every measurement needs.
struct Bench<'a> {
    args: &'a Args,
    sensor: Variant,
    interrupt: Interrupt,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    // These watch no kernel, so they need neither root nor the sensor.
    type Alone = fn(&mut Rows) -> Result<()>;
    let alone: [(What, &str, Alone); 2] =
        [(What::Detect, "detect", detect::run), (What::Collector, "collector", collector::run)];
    if let Some((_, name, run)) = alone.into_iter().find(|(what, ..)| *what == args.what) {
        let mut rows = args.rows(name)?;
        run(&mut rows)?;
        say(format_args!("raw rows: {}", rows.path().display()));
        return Ok(());
    }
    require_root("measuring")?;
    setup::ensure(&setup::Args { bench: true, ..setup::Args::default() })?;
    mounts::add_missing()?;
    let command = match &args.sensor {
        Some(command) => command.clone(),
        None => {
            build::kernel()?;
            build::sensor(true, false)?;
            format!("exec '{}' run -o json", workspace::executable("keywitness", true).display())
        }
    };
    let sensor = Variant { name: "keywitness".into(), command: Some(command) };
    let bench = Bench { args, sensor, interrupt: Interrupt::new()? };
    type Measurement = fn(&Bench<'_>, &mut Rows) -> Result<()>;
    let all: [(What, &str, Measurement); 10] = [
        (What::Tls, "tls", tls::measure),
        (What::Sites, "sites", sites::measure),
        (What::Calls, "calls", calls::measure),
        (What::Attach, "attach", attach::measure),
        (What::Connect, "connect", connect::measure),
        (What::Opens, "opens", opens::measure),
        (What::Idle, "idle", idle::measure),
        (What::Log, "log", log::measure),
        (What::Detect, "detect", detect::measure),
        (What::Collector, "collector", collector::measure),
    ];
    for (what, name, measure) in all {
        if args.what == what || args.what == What::All {
            let mut rows = args.rows(name)?;
            measure(&bench, &mut rows)?;
            say(format_args!("raw rows: {}", rows.path().display()));
        }
    }
    Ok(())
}

impl Args {
    /// The file of raw rows of a measurement.
    fn rows(&self, name: &str) -> Result<Rows> {
        Rows::create(&self.out.clone().unwrap_or_else(|| workspace::target_dir().join("bench")), name)
    }
}

impl Bench<'_> {
    /// No observer, the sensor, then the peers.
    fn variants(&self, peers: Vec<Variant>) -> Result<Vec<Variant>> {
        let mut variants = vec![Variant::none(), self.sensor.clone()];
        if !self.args.no_peers {
            variants.extend(peers);
        }
        variants.extend(self.args.peer.iter().cloned());
        for (index, one) in variants.iter().enumerate() {
            if variants[..index].iter().any(|other| other.name == one.name) {
                bail!("two observers are called {}: give the peer another name", one.name);
            }
        }
        Ok(variants)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.args.warm_up)
    }
}
