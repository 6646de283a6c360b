//! Ending what was started: SIGINT and SIGTERM end the task in order, children by their process group.

use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How long a child may take to end after a signal before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often a waiting loop looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Set by SIGINT and SIGTERM.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

/// A child in a process group of its own, ended when dropped.
pub(crate) struct Group {
    child: Child,
    name: String,
    stopped: bool,
}

impl Interrupt {
    /// Starts to listen.
    pub(crate) fn new() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot listen for signals")?;
        }
        Ok(Self(flag))
    }

    /// An error when interrupted.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Waits; an error at once when interrupted.
    pub(crate) fn pause(&self, time: Duration) -> Result<()> {
        self.wait_until(time, || Ok(false)).map(|_| ())
    }

    /// Waits until the condition holds (true) or the time is over (false); an error when interrupted.
    pub(crate) fn wait_until(&self, time: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            if done()? {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            std::thread::sleep(left.min(LOOK_AGAIN));
        }
    }
}

impl Group {
    /// Starts a command in its own process group: a terminal's Ctrl-C reaches it only through us, once.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), stopped: false })
    }

    /// Its standard error, when that was piped; handed out once.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Its standard output, when that was piped; handed out once.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The process id, which is the group's id too.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Sends SIGINT and waits; kills what is still there after [`GRACE`]. Gives how the leader ended.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        if !self.stopped {
            self.stopped = true;
            self.signal(Signal::INT);
            let end = Instant::now() + GRACE;
            while Instant::now() < end && self.ended()?.is_none() {
                std::thread::sleep(LOOK_AGAIN);
            }
            self.signal(Signal::KILL);
        }
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    fn signal(&self, signal: Signal) {
        // Failure means that the group has ended, which is what we want.
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn stopped_group_ends_by_interrupt() {
        let mut group = Group::start("sleep", Command::new("sleep").arg("60")).unwrap();
        assert!(group.ended().unwrap().is_none());
        assert_eq!(group.stop().unwrap().signal(), Some(SIGINT));
    }

    #[test]
    fn dropped_group_is_gone() {
        let group = Group::start("sleep", Command::new("sleep").arg("60")).unwrap();
        let id = group.id();
        drop(group);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn interrupt_ends_a_pause_with_an_error() {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(true)));
        assert!(interrupt.pause(Duration::from_secs(60)).is_err());
    }

    #[test]
    fn wait_ends_when_the_condition_holds() {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        assert!(interrupt.wait_until(Duration::from_secs(60), || Ok(true)).unwrap());
        assert!(!interrupt.wait_until(Duration::ZERO, || Ok(false)).unwrap());
    }
}
