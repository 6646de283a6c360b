//! Files that run with a program: the libraries it names, and what a script starts.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use locate::{Elf, needed};

use crate::{
    homes::entries,
    tls::{files::OpenFile, installed},
};

/// Libraries looked at, those that libraries need included.
const MAX_LIBRARIES: usize = 512;
/// Where the loader looks last (ld.so(8)).
const FOLDERS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// Folders that the loader is told of, a line each (ldconfig(8)).
const CONFIGURED: &str = "/etc/ld.so.conf.d";
/// Longest first line of a script, bytes (fs/binfmt_script.c reads 256).
const FIRST_LINE: u64 = 256;

/// The files of the libraries that the program at `path` needs, as the loader would find them without its cache and
/// without the environment.
pub(super) fn libraries(path: &Path) -> Vec<PathBuf> {
    let host = folders();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut open = VecDeque::from([path.to_owned()]);
    while let Some(path) = open.pop_front() {
        let Some(needed) = File::open(&path).ok().and_then(|file| {
            let bytes = OpenFile(&file);
            needed(&Elf::parse(&bytes).ok()?).ok()
        }) else {
            continue;
        };
        let origin =
            path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned())).unwrap_or_default();
        let own = needed.folders.iter().map(|folder| own(folder, &origin));
        let all: Vec<PathBuf> = own.chain(host.iter().cloned()).collect();
        for name in needed.libraries {
            if seen.len() >= MAX_LIBRARIES || !seen.insert(name.clone()) {
                continue;
            }
            let file = all.iter().map(|folder| folder.join(&name)).find(|file| file.is_file());
            if let Some(file) = file {
                open.push_back(file.clone());
                found.push(file);
            }
        }
    }
    found
}

/// A folder that a file names for its libraries.
fn own(folder: &str, origin: &Path) -> PathBuf {
    let origin = origin.to_string_lossy();
    PathBuf::from(folder.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin))
}

/// Folders of the host's libraries.
fn folders() -> Vec<PathBuf> {
    let files =
        entries(Path::new(CONFIGURED)).filter(|path| path.extension().is_some_and(|kind| kind == "conf"));
    let lines = files.flat_map(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(str::trim).map(PathBuf::from).collect::<Vec<_>>()
    });
    lines.filter(|folder| folder.is_absolute()).chain(FOLDERS.map(PathBuf::from)).collect()
}

/// What a script starts: its interpreter, then programs of its package that are for this machine. Nothing for what is no
/// script.
pub(super) fn started(path: &Path) -> Option<Vec<PathBuf>> {
    let mut line = String::new();
    File::open(path).ok()?.take(FIRST_LINE).read_to_string(&mut line).ok()?;
    let mut words = line.strip_prefix("#!")?.lines().next()?.split_ascii_whitespace();
    let interpreter = PathBuf::from(words.next()?);
    let is_env = interpreter.file_name().is_some_and(|name| name == "env");
    let interpreter = match words.find(|word| is_env && !word.starts_with('-')) {
        Some(name) => on_path(name).unwrap_or_else(|| PathBuf::from(name)),
        None => interpreter,
    };
    let real = path.canonicalize().ok()?;
    Some([vec![interpreter], installed::natives(&real)].concat())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_with_those_that_they_need() {
        let found = libraries(Path::new("/usr/bin/env"));
        assert!(found.iter().any(|file| file.ends_with("libc.so.6")), "{found:?}");
        assert_eq!(own("$ORIGIN/../lib", Path::new("/opt/bin")), Path::new("/opt/bin/../lib"));
    }

    #[test]
    fn a_script_starts_its_interpreter() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        for (line, interpreter) in
            [("#!/bin/sh -e\n", "/bin/sh"), ("#! /usr/bin/env -S no-such-program\n", "no-such-program")]
        {
            std::fs::write(&script, line).unwrap();
            assert_eq!(started(&script), Some(vec![PathBuf::from(interpreter)]));
        }
        assert_eq!(started(Path::new("/bin/true")), None);
    }
}
