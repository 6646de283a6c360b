//! The sensor as a child process, its records read as they come.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use proto::v1::Record;
use rustix::process::{Pid, Signal, kill_process};

use crate::{client::Runtime, paths::Scratch, wait};

mod command;
mod stopped;

pub use command::{alone, command, fingerprint, fingerprints};
pub use stopped::{Stopped, calls};

/// Time the sensor has to attach everything and say so.
const START: Duration = Duration::from_secs(30);
/// Time the sensor has to detach everything and end.
const STOP: Duration = Duration::from_secs(20);

/// A running sensor; killed on drop. Only one runs at a time, whatever tests run side by side.
#[derive(Debug)]
pub struct Sensor {
    child: Child,
    scratch: Scratch,
    seen: Arc<Seen>,
    reader: Option<JoinHandle<Result<()>>>,
    _alone: File,
}

#[derive(Debug, Default)]
struct Seen {
    records: Mutex<Vec<Record>>,
    more: Condvar,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sensor {
    /// Starts `keywitness run -o json` with `arguments` and a state folder of its own, and returns
    /// when its first status record says that it is ready.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_by(alone()?, arguments)
    }

    /// As [`Sensor::start`], by one who already holds [`alone`].
    pub fn start_by(alone: File, arguments: &[&str]) -> Result<Self> {
        Self::start_with(alone, arguments, None)
    }

    /// As [`Sensor::start_by`], with a fleet key in a folder of credentials instead of one of its own.
    pub fn start_with(alone: File, arguments: &[&str], credentials: Option<&Path>) -> Result<Self> {
        let scratch = Scratch::new("sensor")?;
        let mut command = command("run", &scratch.path().join("state"))?;
        command.args(["-o", "json"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(scratch.path().join("stderr.log"))?);
        command.envs(credentials.map(|folder| ("CREDENTIALS_DIRECTORY", folder)));
        let mut child = command.spawn().context("cannot start the sensor")?;
        let output = child.stdout.take().context("the sensor has no output")?;
        let seen = Arc::new(Seen::default());
        let copy = File::create(scratch.path().join("stdout.jsonl"))?;
        let reader = std::thread::spawn({
            let seen = Arc::clone(&seen);
            move || read(output, copy, &seen)
        });
        let mut sensor = Self { child, scratch, seen, reader: Some(reader), _alone: alone };
        let ready = |records: &[Record]| records.iter().any(|record| record.kind == "status");
        if let Err(error) = sensor.wait_for("the first status record", START, ready) {
            let log = std::fs::read_to_string(sensor.scratch.path().join("stderr.log"))?;
            bail!("{error:#}; the sensor says:\n{log}");
        }
        Ok(sensor)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that holds its output and state.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Waits until `enough` holds for the records so far.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        enough: impl Fn(&[Record]) -> bool,
    ) -> Result<()> {
        let limit = wait::stretched(limit);
        let end = Instant::now() + limit;
        loop {
            // Taken before the check, so that what it wrote last is still looked at.
            let ended = self.child.try_wait()?;
            let mut records = self.seen.lock();
            if ended.is_none() && !enough(&records) {
                let step = Duration::from_millis(200);
                records =
                    self.seen.more.wait_timeout(records, step).unwrap_or_else(PoisonError::into_inner).0;
            }
            if enough(&records) {
                return Ok(());
            }
            if let Some(status) = ended {
                bail!("the sensor ended with {status} before {what}");
            }
            if Instant::now() > end {
                bail!("waited {limit:?} in vain for {what}; {} records so far", records.len());
            }
        }
    }

    /// Runs the executable of a client and waits until its TLS functions are probed, found by `method`.
    pub fn probe(&self, runtime: Runtime, method: &str, limit: Duration) -> Result<()> {
        let exe = runtime.exe()?;
        wait::until("the executable to be probed", limit, || {
            // Again and again: one that ends at once may be gone before it is looked at.
            let _ = Command::new(runtime.program()?).arg("--version").output()?;
            Ok(self.has_probed(&exe, method)?.then_some(()))
        })
    }

    /// Waits until the TLS functions of `exe` are probed, found by `method`: a large executable is read when it is
    /// first seen, which may take longer than its first call.
    pub fn wait_until_probed(&self, exe: &Path, method: &str, limit: Duration) -> Result<()> {
        wait::until("the executable to be probed", limit, || Ok(self.has_probed(exe, method)?.then_some(())))
    }

    fn has_probed(&self, exe: &Path, method: &str) -> Result<bool> {
        let log = std::fs::read_to_string(self.dir().join("stderr.log")).context("the sensor's log")?;
        let exe = exe.display().to_string();
        Ok(log.lines().any(|line| line.contains(&exe) && line.contains(method)))
    }

    /// The records so far.
    pub fn records(&self) -> Vec<Record> {
        self.seen.lock().clone()
    }

    /// The fingerprint of each of `keys`, by the sensor's own command under the same fleet key.
    pub fn fingerprints<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a String>,
    ) -> Result<HashMap<String, String>> {
        let state = self.scratch.path().join("state");
        fingerprints(&state, keys)
    }

    /// Interrupts it and collects what it wrote.
    pub fn stop(self) -> Result<Stopped> {
        self.stop_by(Signal::INT)
    }

    /// Ends it by `signal` and collects what it wrote.
    pub fn stop_by(mut self, signal: Signal) -> Result<Stopped> {
        kill_process(Pid::from_child(&self.child), signal)?;
        let status = wait::until("the sensor to end", STOP, || Ok(self.child.try_wait()?))?;
        let reader = self.reader.take().context("already stopped")?;
        reader.join().map_err(|_| anyhow!("the reader thread failed"))??;
        let records = std::mem::take(&mut *self.seen.lock());
        let scratch = std::mem::replace(&mut self.scratch, Scratch::new("stopped")?);
        Ok(Stopped { records, status, scratch })
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // Whoever drops it without stopping it has failed.
        if self.reader.is_some() {
            let log = std::fs::read_to_string(self.scratch.path().join("stderr.log")).unwrap_or_default();
            eprintln!("the sensor says:\n{log}");
        }
    }
}

fn read(output: impl std::io::Read, mut copy: File, seen: &Seen) -> Result<()> {
    for line in BufReader::new(output).lines() {
        let line = line?;
        writeln!(copy, "{line}")?;
        let record = serde_json::from_str(&line).with_context(|| format!("not a record: {line}"))?;
        seen.lock().push(record);
        seen.more.notify_all();
    }
    Ok(())
}
