//! Observers: any command that watches the machine until SIGINT.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

use super::procfs;
use crate::stop::Group;

/// How much of an observer's log an error shows, in bytes.
const LOG_TAIL: usize = 2000;

/// A named observer, or none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    /// The name in table and rows.
    pub(super) name: String,
    /// The shell command; none for the base.
    pub(super) command: Option<String>,
}

/// An observer that runs.
pub(super) struct Observer {
    group: Group,
    name: String,
    log: PathBuf,
}

impl FromStr for Variant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((name, command)) if !name.is_empty() && !command.trim().is_empty() => {
                Ok(Self { name: name.into(), command: Some(command.into()) })
            }
            _ => Err(anyhow!("a peer is given as NAME=COMMAND")),
        }
    }
}

impl Variant {
    /// The base: no observer.
    pub(super) fn none() -> Self {
        Self { name: "none".into(), command: None }
    }

    /// Starts the observer, if there is one; its errors go to a log in the folder.
    pub(super) fn start(&self, folder: &Path) -> Result<Option<Observer>> {
        let Some(command) = &self.command else { return Ok(None) };
        let log = folder.join(format!("{}.log", self.name));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let group = Group::start(&self.name, &mut shell)?;
        Ok(Some(Observer { group, name: self.name.clone(), log }))
    }
}

impl Observer {
    /// The process group.
    pub(super) fn group(&self) -> u32 {
        self.group.id()
    }

    /// An error with its last words when it has ended by itself: what was measured is worth nothing.
    pub(super) fn check(&mut self) -> Result<()> {
        let Some(status) = self.group.ended()? else { return Ok(()) };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        bail!("{} ended by itself ({status}): {}", self.name, tail(&log, LOG_TAIL))
    }

    /// CPU time in nanoseconds of all its processes.
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        let members = procfs::group_members(self.group.id())?;
        // A member may end in between.
        Ok(members.into_iter().filter_map(|pid| procfs::cpu_ns(pid).ok()).sum())
    }

    /// Ends it and waits.
    pub(super) fn stop(mut self) -> Result<()> {
        self.check()?;
        self.group.stop().map(|_| ())
    }
}

fn tail(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::Scratch;

    #[test]
    fn peer_is_a_name_and_a_command_that_may_hold_equal_signs() {
        let variant: Variant = "bpf=A=1 tool -x".parse().unwrap();
        assert_eq!(variant, Variant { name: "bpf".into(), command: Some("A=1 tool -x".into()) });
        for wrong in ["", "name", "=command", "name= "] {
            assert!(wrong.parse::<Variant>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn observer_that_fails_says_its_last_words() {
        let folder = Scratch::new().unwrap();
        let variant: Variant = "broken=echo no such hook >&2; exit 2".parse().unwrap();
        let mut observer = variant.start(folder.path()).unwrap().unwrap();
        let error = loop {
            if let Err(error) = observer.check() {
                break error.to_string();
            }
        };
        assert!(error.contains("broken") && error.contains("no such hook"), "{error}");
    }

    #[test]
    fn running_observer_is_stopped_without_an_error() {
        let folder = Scratch::new().unwrap();
        let variant: Variant = "sleep=exec sleep 60".parse().unwrap();
        let mut observer = variant.start(folder.path()).unwrap().unwrap();
        observer.check().unwrap();
        observer.stop().unwrap();
        assert!(Variant::none().start(folder.path()).unwrap().is_none());
    }

    #[test]
    fn tail_cuts_between_letters() {
        assert_eq!(tail("aäö", 3), "ö");
        assert_eq!(tail("short", 100), "short");
    }
}
