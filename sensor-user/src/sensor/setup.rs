//! What a sensor is made of, and why one cannot be.

use std::{io, path::PathBuf, time::Duration};

use proto::v1::Record;
use thiserror::Error;

use crate::{
    bpf::{LoadError, MapError},
    config::{self, KnownExecutable},
};

/// What the sensor is told at start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the event buffer, bytes, a power of two.
    pub ring_bytes: u32,
    /// Kernel-side diagnostics.
    pub kernel_log: bool,
    /// The cgroup whose processes are watched; all when absent.
    pub cgroup: Option<String>,
    /// Hooks that are left out.
    pub disabled_hooks: Vec<String>,
    /// Time between `status` records.
    pub status_every: Duration,
    /// Whether TLS functions are probed.
    pub tls: bool,
    /// Useless hits a second after which a library is probed for known callers only.
    pub hit_budget_per_s: u64,
    /// Where it is kept what was found in large files.
    pub located: PathBuf,
    /// Names of executables that are taken for callers from their first exec.
    pub known_executables: Vec<KnownExecutable>,
    /// Patterns of the user's credential files.
    pub watch: Vec<String>,
    /// Name of this host in records.
    pub host: String,
    /// File to record events to.
    pub record: Option<PathBuf>,
    /// The kernel's name of this boot.
    pub boot_id: String,
    /// Whom to ask about workloads.
    pub identity: config::Identity,
}

/// What the flow log tells of earlier runs.
pub struct Past {
    /// Number of the next record.
    pub next_seq: u64,
    /// The last records, oldest first.
    pub records: Box<dyn Iterator<Item = Record>>,
}

impl Default for Past {
    fn default() -> Self {
        Self { next_seq: 1, records: Box::new(std::iter::empty()) }
    }
}

/// Why the sensor stopped or never ran.
#[derive(Debug, Error)]
pub enum SensorError {
    /// The kernel side does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A kernel table cannot be used.
    #[error("kernel table: {0}")]
    Table(#[from] MapError),
    /// Events cannot be recorded.
    #[error("cannot record events: {0}")]
    Record(#[source] io::Error),
    /// A record cannot be written.
    #[error("cannot write records: {0}")]
    Sink(#[source] io::Error),
    /// The operating system refused something else.
    #[error(transparent)]
    Io(#[from] io::Error),
}
