//! Test cgroups in the cgroup v2 tree.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::wait;

/// Time the kernel has to empty a killed cgroup.
const EMPTY: Duration = Duration::from_secs(10);

/// A cgroup; on drop its processes are killed and it is removed.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// A new cgroup directly below the root.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root()?.join(format!("keywitness-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot create {} (root needed)", path.display()))?;
        Ok(Self(path))
    }

    /// A new cgroup of exactly this name below `self`.
    pub fn child(&self, name: &str) -> Result<Self> {
        let path = self.0.join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Path as records name it: from the cgroup root, with a leading slash.
    pub fn name(&self) -> String {
        let below = root().ok().and_then(|root| self.0.strip_prefix(root).ok().map(Path::to_owned));
        format!("/{}", below.unwrap_or_default().display())
    }

    /// The file that moves a process in.
    pub fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// The cgroup's folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn remove(&self) -> Result<()> {
        drop(std::fs::write(self.0.join("cgroup.kill"), "1"));
        wait::until("the test cgroup to become empty", EMPTY, || {
            Ok(std::fs::remove_dir(&self.0).is_ok().then_some(()))
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Where cgroup v2 is mounted.
pub fn root() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    });
    found.context("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")
}
