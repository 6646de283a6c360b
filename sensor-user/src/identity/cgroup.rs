//! Paths of cgroups by their id (the inode of the directory, cgroup_get_from_id in the kernel).

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Directories looked at in one search of the tree.
const MAX_DIRECTORIES: usize = 20_000;
/// Cgroups remembered; all are forgotten when there are more.
const MAX_CGROUPS: usize = 65_536;

/// Resolves cgroup ids.
pub struct Cgroups {
    root: PathBuf,
    known: HashMap<u64, String>,
    missing: HashSet<u64>,
}

impl Cgroups {
    /// For the hierarchy mounted at `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root, known: HashMap::new(), missing: HashSet::new() }
    }

    /// The path of cgroup `id` if it is not known yet: of process `pid` when that is in it, else by a
    /// search of the tree. A cgroup that is gone is not searched for again.
    pub fn learn(&mut self, id: u64, pid: u32) -> Option<String> {
        if self.known.contains_key(&id) || self.missing.contains(&id) {
            return None;
        }
        if self.known.len() + self.missing.len() >= MAX_CGROUPS {
            self.known.clear();
            self.missing.clear();
        }
        match self.of_process(id, pid).or_else(|| self.search(id)) {
            Some(path) => {
                self.known.insert(id, path.clone());
                Some(path)
            }
            None => {
                self.missing.insert(id);
                None
            }
        }
    }

    /// A cgroup that is gone: what comes under its id is another.
    pub fn forget(&mut self, id: u64) {
        self.known.remove(&id);
        self.missing.remove(&id);
    }

    /// The folder of the cgroup at `path`.
    pub fn folder(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn of_process(&self, id: u64, pid: u32) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        (std::fs::metadata(self.folder(path)).ok()?.ino() == id).then(|| path.to_owned())
    }

    fn search(&self, id: u64) -> Option<String> {
        let mut left = MAX_DIRECTORIES;
        let mut pending = vec![self.root.clone()];
        while let Some(directory) = pending.pop() {
            left = left.checked_sub(1)?;
            if std::fs::metadata(&directory).is_ok_and(|metadata| metadata.ino() == id) {
                return Some(self.name(&directory));
            }
            let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            pending.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        None
    }

    fn name(&self, directory: &Path) -> String {
        let below = directory.strip_prefix(&self.root).unwrap_or(directory);
        format!("/{}", below.display())
    }
}
