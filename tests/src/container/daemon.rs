//! A container daemon as a child process, with folders of its own.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::START;
use crate::wait;

/// A running daemon; ended on drop.
#[derive(Debug)]
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts it and waits until `ready`.
    pub(super) fn start(mut command: Command, log: &Path, mut ready: impl FnMut() -> bool) -> Result<Self> {
        let file = File::create(log)?;
        let program = command.get_program().to_owned();
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {program:?}: run `cargo xtask setup --tests`"))?;
        let mut daemon = Self(child);
        let started = wait::until("a container daemon", START, || {
            if let Some(status) = daemon.0.try_wait()? {
                bail!("{program:?} ended early: {status}");
            }
            Ok(ready().then_some(()))
        });
        started.with_context(|| std::fs::read_to_string(log).unwrap_or_default())?;
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.0), Signal::TERM).is_err() {
            return; // it ended by itself and was waited for
        }
        let ended = wait::until("a container daemon to end", START, || Ok(self.0.try_wait()?));
        if ended.is_err() {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}
