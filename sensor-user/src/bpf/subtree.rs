//! The part of the cgroup tree whose processes are watched: all of it, unless the configuration names one.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::load::{LoadError, cgroup_root};

/// A cgroup with everything below it.
#[derive(Debug)]
pub struct Subtree {
    /// From the root of the hierarchy, with a leading slash; `/` is all.
    path: String,
    /// Its folder, open for the programs that are attached to it.
    pub(super) folder: File,
    /// Its id (the inode of its folder); 0 for all.
    pub(super) id: u64,
    /// Cgroups above it (bpf_get_current_ancestor_cgroup_id).
    pub(super) level: u32,
}

impl Subtree {
    /// All processes.
    pub fn all() -> Result<Self, LoadError> {
        Self::open("/")
    }

    /// The processes below the cgroup at `path`, which must be there and must not be replaced while it is watched.
    pub fn open(path: &str) -> Result<Self, LoadError> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let at = parts.iter().fold(cgroup_root()?, |at, part| at.join(part));
        let failed = |source| LoadError::Cgroup { path: at.clone(), source };
        let folder = File::open(&at).map_err(failed)?;
        let id = folder.metadata().map_err(failed)?.ino();
        Ok(Self {
            path: format!("/{}", parts.join("/")),
            folder,
            id: if parts.is_empty() { 0 } else { id },
            level: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        })
    }

    /// Whether a process is in it; one that is gone is not, unless all are.
    pub fn has_process(&self, pid: u32) -> bool {
        self.id == 0 || path_of(Path::new("/proc").join(pid.to_string())).is_some_and(|path| self.has(&path))
    }

    fn has(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Path of a process in the unified hierarchy.
fn path_of(process: PathBuf) -> Option<String> {
    let text = fs::read_to_string(process.join("cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_has_what_is_below_it_and_no_namesake() {
        let subtree = Subtree { path: "/a/b".into(), folder: File::open("/").unwrap(), id: 7, level: 2 };
        assert!(subtree.has("/a/b") && subtree.has("/a/b/c.service"));
        assert!(!subtree.has("/a") && !subtree.has("/a/bc") && !subtree.has("/x/a/b"));
        assert!(!subtree.has_process(u32::MAX), "nobody knows where it was");
        assert!(Subtree { id: 0, ..subtree }.has_process(u32::MAX));
    }
}
