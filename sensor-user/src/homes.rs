//! Home folders of this host.

use std::path::{Path, PathBuf};

/// Where most of them are.
const HOMES: &str = "/home";

/// Those of the users in /etc/passwd, and all folders in /home; each once.
pub(crate) fn homes() -> Vec<PathBuf> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let told = users.lines().filter_map(|line| line.split(':').nth(5)).filter(|home| *home != "/");
    let mut homes: Vec<PathBuf> = told.map(PathBuf::from).collect();
    homes.extend(entries(Path::new(HOMES)));
    homes.sort();
    homes.dedup();
    homes
}

/// What a folder has; nothing if it cannot be read.
pub(crate) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
