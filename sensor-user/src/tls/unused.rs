//! Probed files that nobody can need any more. A probe holds its file, so a deleted one keeps its space on the disk.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{files::FileKey, mapping::Mapping};

/// Processes looked at in one go; if there are more, no file is called unused.
const MAX_PROCESSES: usize = 65_536;
/// Whether a file has a name still: a process that starts tomorrow may have it.
pub(super) fn has_name(file: &File) -> bool {
    file.metadata().map_or(true, |metadata| metadata.nlink() > 0)
}

/// Those of `files`, each with its path, that no process has mapped as code.
pub(super) fn unmapped(files: HashMap<FileKey, String>) -> HashSet<FileKey> {
    let names: HashSet<String> = files.values().map(|path| name(path).to_owned()).collect();
    let mut unmapped: HashSet<FileKey> = files.into_keys().collect();
    let Ok(processes) = procfs::process::all_processes() else { return HashSet::new() };
    for (number, process) in processes.flatten().enumerate() {
        if number >= MAX_PROCESSES {
            return HashSet::new();
        }
        let pid = process.pid().unsigned_abs();
        // The kernel bounds their number (vm.max_map_count).
        let Ok(maps) = std::fs::read_to_string(format!("/proc/{pid}/maps")) else { continue };
        for mapping in maps.lines().filter_map(Mapping::parse).filter(|one| names.contains(name(one.path))) {
            if let Ok(metadata) = std::fs::metadata(mapping.file(pid)) {
                unmapped.remove(&FileKey::from(&metadata));
            }
        }
    }
    unmapped
}

/// Name of a file, as it was before it was deleted.
fn name(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_deleted_file_is_unmapped_when_its_last_process_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleep");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let file = File::open(&path).unwrap();
        assert!(has_name(&file));
        let key = FileKey::of(&file).unwrap();
        let name = path.display().to_string();
        let mut child = Command::new(&path).arg("600").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!has_name(&file));
        assert!(unmapped([(key, name.clone())].into()).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(unmapped([(key, name)].into()), [key].into());
    }
}
