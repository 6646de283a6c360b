//! `run`: everything from a fresh checkout to a running sensor.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell::{require_root, run, say};
use crate::stop::{Group, Interrupt};
use crate::{build, mounts, setup, workspace};

/// No end to the wait for Ctrl-C that anyone would meet.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What the sensor logs when nothing is missed any more.
const ATTACHED: &str = "attached;";
/// Longest wait for it.
const START: Duration = Duration::from_secs(20);

/// How to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also start a local model endpoint and a few real clients, two of which share a key
    #[arg(long)]
    demo: bool,
    /// Arguments of `keywitness run`
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    require_root("the sensor")?;
    setup::ensure(&setup::Args { tests: args.demo, ..setup::Args::default() })?;
    build::kernel()?;
    build::sensor(true, args.demo)?;
    mounts::add_missing()?;
    let mut sensor = Command::new(workspace::executable("keywitness", true));
    sensor.arg("run").args(&args.arguments);
    if args.demo {
        return with_demo(&mut sensor);
    }
    // In our place, so that the terminal, its signals and the exit code are the sensor's own.
    Err(sensor.exec()).context("cannot start keywitness")
}

/// Runs the sensor with the demo beside it; both end at Ctrl-C.
fn with_demo(sensor: &mut Command) -> Result<()> {
    let interrupt = Interrupt::new()?;
    run(Command::new(workspace::executable("setup-clients", true)).stdin(Stdio::null()))?;
    let mut sensor = Group::start("keywitness", sensor.stdin(Stdio::null()).stderr(Stdio::piped()))?;
    let attached = pass_on(sensor.take_stderr());
    // The demo's first call is to be seen whole; a sensor that tells nothing (`-q`) gets its time.
    interrupt.wait_until(START, || Ok(attached.load(Ordering::Relaxed) || sensor.ended()?.is_some()))?;
    let mut demo = Some(start_demo()?);
    // An interrupt is the usual way out and no error.
    let _ = interrupt.wait_until(FOREVER, || {
        if let Some(status) = demo.as_mut().map(Group::ended).transpose()?.flatten() {
            say(format_args!("the demo has ended ({status}); the sensor goes on until Ctrl-C"));
            demo = None;
        }
        Ok(sensor.ended()?.is_some())
    });
    // The demo first: its last calls are still seen.
    drop(demo);
    let status = sensor.stop()?;
    if !status.success() {
        bail!("keywitness ended with {status}");
    }
    Ok(())
}

/// Passes the sensor's log on to standard error; the flag is set once it says that it is attached.
fn pass_on(log: Option<ChildStderr>) -> Arc<AtomicBool> {
    let attached = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&attached);
    std::thread::spawn(move || {
        for line in log.into_iter().flat_map(|log| BufReader::new(log).lines()).map_while(Result::ok) {
            if line.contains(ATTACHED) {
                flag.store(true, Ordering::Relaxed);
            }
            eprintln!("{line}");
        }
    });
    attached
}

fn start_demo() -> Result<Group> {
    say("starting the demo: a local model endpoint and its clients");
    let mut command = Command::new(workspace::executable("demo", true));
    // Standard output belongs to the records. The demo ends when its input does, so it gets one that stays open.
    Group::start("the demo", command.stdin(Stdio::piped()).stdout(std::io::stderr()))
}
