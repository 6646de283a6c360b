//! Probed files that nobody can need any more. A probe holds its file: a deleted one keeps its space on the disk, and a
//! file system cannot be unmounted.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use super::{files::FileKey, mapping::Mapping};

/// Processes looked at in one go; if there are more, no file is called unused.
const MAX_PROCESSES: usize = 65_536;
/// Folders whose file systems stay mounted as long as the host runs.
const LASTING: [&str; 6] = ["/", "/usr", "/opt", "/var", "/home", "/root"];

/// Whether the file stays where the host's programs find it: a process that starts tomorrow may have it. One that is known
/// to call models may be anywhere.
pub(super) fn stays(key: FileKey, path: &str, is_known: bool) -> bool {
    let is_there = std::fs::metadata(path).is_ok_and(|metadata| FileKey::from(&metadata) == key);
    let device = |folder: &&str| std::fs::metadata(folder).map(|metadata| metadata.dev()).ok();
    is_there && (is_known || LASTING.iter().filter_map(device).any(|device| key.is_on(device)))
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
    use std::{fs::File, process::Command};

    use super::*;

    #[test]
    fn a_deleted_file_is_unmapped_when_its_last_process_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sleep");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let file = File::open(&path).unwrap();
        let key = FileKey::of(&file).unwrap();
        let name = path.display().to_string();
        let mut child = Command::new(&path).arg("600").spawn().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!stays(key, &name, true));
        assert!(unmapped([(key, name.clone())].into()).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(unmapped([(key, name)].into()), [key].into());
    }

    #[test]
    fn a_program_of_the_host_stays_and_another_of_the_same_path_does_not() {
        let path = "/bin/sleep";
        assert!(stays(FileKey::of(&File::open(path).unwrap()).unwrap(), path, false));
        assert!(!stays(FileKey::of(&File::open("/bin/true").unwrap()).unwrap(), path, true));
    }
}
