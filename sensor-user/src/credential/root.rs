//! Paths as another process sees them, never leaving its root.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    dir::{Dir, Type},
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
};

use super::glob::name_fits;

/// Most entries of one folder that are looked at.
const MAX_ENTRIES: usize = 1024;
/// Most files found for one pattern.
const MAX_FILES: usize = 64;

/// The root folder of a process.
#[derive(Debug)]
pub(super) struct Root(File);

impl Root {
    /// That of the process `pid`.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Self(File::open(format!("/proc/{pid}/root"))?))
    }

    /// That of this process.
    pub(super) fn own() -> io::Result<Self> {
        Ok(Self(File::open("/")?))
    }

    /// A handle on what `path` leads to. Links are followed as the process would follow them; those of /proc,
    /// which lead anywhere, are not.
    pub(super) fn handle(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH)
    }

    fn open(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let how = if flags.contains(OFlag::O_PATH) {
            // O_PATH allows few other flags.
            OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
        } else {
            how
        };
        Ok(openat2(&self.0, path, how)?)
    }

    /// The paths below `start` that fit `parts`, of which each is a name or a pattern of one; and the folders in
    /// which such files could come to be.
    pub(super) fn find(&self, start: &Path, parts: &[String]) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut files, mut folders) = (Vec::new(), vec![start.to_owned()]);
        for (at, part) in parts.iter().enumerate() {
            let last = at + 1 == parts.len();
            let mut next = Vec::new();
            for folder in &folders {
                if part.contains('*') {
                    let names = self.names(folder).into_iter().filter(|name| name_fits(part, name));
                    next.extend(names.map(|name| folder.join(name)));
                } else {
                    next.push(folder.join(part));
                }
            }
            next.truncate(MAX_FILES);
            if last {
                files = next;
            } else {
                folders = next;
            }
        }
        (files, folders)
    }

    /// Names in a folder; none when it cannot be read.
    pub(super) fn names(&self, folder: &Path) -> Vec<String> {
        let Ok(handle) = self.open(folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { return Vec::new() };
        let Ok(mut dir) = Dir::from_fd(handle) else { return Vec::new() };
        dir.iter()
            .take(MAX_ENTRIES)
            .flatten()
            .filter(|entry| entry.file_type() != Some(Type::Fifo))
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .collect()
    }
}

/// The path by which a descriptor of this process was opened, as its opener sees it.
pub(super) fn path_of(file: &File) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    Some(path.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_does_not_lead_out_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        std::fs::write(inner.join("file"), "inside").unwrap();
        symlink("../secret", inner.join("up")).unwrap();
        symlink(folder.path().join("secret"), inner.join("absolute")).unwrap();
        symlink("/file", inner.join("fine")).unwrap();
        symlink("/proc/self/root", inner.join("magic")).unwrap();
        let root = Root(File::open(&inner).unwrap());
        for name in ["up", "absolute", "magic/etc/passwd", "none"] {
            assert!(root.handle(Path::new(name)).is_err(), "{name}");
        }
        let found = File::from(root.handle(Path::new("/fine")).unwrap()).metadata().unwrap();
        assert_eq!(found.ino(), inner.join("file").metadata().unwrap().ino());
    }

    #[test]
    fn patterns_are_looked_up_folder_by_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/x/key.json", "a/y/key.json", "a/y/other.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let root = Root(File::open(folder.path()).unwrap());
        let parts = ["a", "*", "*.json"].map(str::to_owned);
        let (mut files, mut folders) = root.find(Path::new("/"), &parts);
        files.sort();
        folders.sort();
        assert_eq!(files, [Path::new("/a/x/key.json"), Path::new("/a/y/key.json")]);
        assert_eq!(folders, [Path::new("/a/x"), Path::new("/a/y")]);
    }
}
