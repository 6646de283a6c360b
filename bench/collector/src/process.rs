//! The collector as a process, and what it takes.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::fleet::Fleet;

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    child: Child,
    address: String,
    /// Open as long as it runs: it writes there.
    _told: BufReader<ChildStdout>,
}

impl Collector {
    /// Starts it with its state in `folder`.
    pub(crate) fn start(program: &Path, folder: &Path, fleet: &Fleet) -> Result<Self> {
        let any = "127.0.0.1:0";
        let mut child = Command::new(program)
            .args(["--listen", any, "--query", any, "--collector-name", "bench", "--dir"])
            .arg(folder)
            .arg("--pki")
            .arg(fleet.pki())
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        let mut told = BufReader::new(child.stdout.take().context("no output")?);
        told.read_line(&mut line)?;
        let address =
            line.trim().strip_prefix("sensors: ").context("the collector did not start")?.to_owned();
        Ok(Self { child, address, _told: told })
    }

    /// Where sensors connect, as a URL.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Processor time so far (Documentation/scheduler/sched-stats.rst), of its threads that live.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))?.flatten() {
            // A thread may end between the listing and the reading.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(sum))
    }

    /// Resident memory, bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Ends it in order.
    pub(crate) fn stop(&mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the collector ended with {status}");
        Ok(())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It has ended unless something failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
