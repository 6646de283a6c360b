//! Where processes are in cgroup v1, on hosts that have it: there containers may stand in v1 hierarchies only.

use std::{
    collections::HashMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use attribution::{
    event::{CgroupKey, Event, ProcessKey},
    identity::hierarchy::{Hierarchies, Mode},
};

use super::running::open;

/// Folders of which the inode is remembered; all are forgotten when there are more.
const MAX_FOLDERS: usize = 16_384;

/// Reads memberships.
#[derive(Debug)]
pub struct Members {
    /// `None` on hosts with cgroup v2 only.
    hierarchies: Option<Hierarchies>,
    folders: HashMap<(u32, String), (CgroupKey, PathBuf)>,
}

impl Members {
    /// For this host.
    pub fn new() -> Self {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let hierarchies = Hierarchies::of(&mountinfo);
        let legacy = matches!(hierarchies.mode(), Mode::Legacy | Mode::Hybrid);
        Self { hierarchies: legacy.then_some(hierarchies), folders: HashMap::new() }
    }

    /// Where `process` is now, with the folder, if it can be read for sure: a pid that is another process' by now says
    /// nothing.
    pub fn of(&mut self, process: ProcessKey) -> Option<(Event, CgroupKey, PathBuf)> {
        let hierarchies = self.hierarchies.as_ref()?;
        let text = read(process)?;
        let (membership, folder) = hierarchies.best(&text)?;
        let named = (membership.hierarchy, folder);
        let known = self.folders.get(&named).cloned();
        // The folder may be another by now: a container started again under its old name.
        let id = std::fs::metadata(&named.1).ok()?.ino();
        let (cgroup, folder) = match known.filter(|(cgroup, _)| cgroup.id == id) {
            Some(known) => known,
            None => {
                if self.folders.len() >= MAX_FOLDERS {
                    self.folders.clear();
                }
                let cgroup = CgroupKey { hierarchy: membership.hierarchy, id };
                let found = (cgroup, PathBuf::from(&named.1));
                self.folders.insert(named, found.clone());
                found
            }
        };
        let event = Event::Member { process, cgroup, path: membership.path.to_owned() };
        Some((event, cgroup, folder))
    }
}

impl Default for Members {
    fn default() -> Self {
        Self::new()
    }
}

/// /proc/PID/cgroup of this very process.
fn read(process: ProcessKey) -> Option<String> {
    let found = open(process)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut found.open_relative("cgroup").ok()?, &mut text).ok()?;
    Some(text)
}

/// Whether the folder of a cgroup is gone, or another's.
pub fn is_gone(cgroup: CgroupKey, folder: &Path) -> bool {
    !std::fs::metadata(folder).is_ok_and(|metadata| metadata.ino() == cgroup.id)
}
