//! Executables on this host that are known to call models, before any of them runs: a large one takes most of a second to
//! read, and its first process may call before that.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    config::KnownExecutable,
    homes::{entries, homes},
};

/// Where executables for every user are.
const EVERYBODY: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/opt/bin", "/home/linuxbrew/.linuxbrew/bin"];
/// Where installers put them for one user, below the home folder.
const ONE_USER: [&str; 12] = [
    ".amp/bin",
    ".bun/bin",
    ".cargo/bin",
    ".claude/local",
    ".deno/bin",
    ".local/bin",
    ".npm-global/bin",
    ".opencode/bin",
    ".volta/bin",
    ".yarn/bin",
    "bin",
    "go/bin",
];
/// Where they put one folder for each version, below the home folder, and where in that the executables are: Node, a
/// Python with OpenSSL inside, an agent that brings its own Node, and what Copilot unpacks to call models with.
const VERSIONS: [(&str, &str); 7] = [
    (".nvm/versions/node", "bin"),
    (".local/share/fnm/node-versions", "installation/bin"),
    (".local/share/mise/installs/node", "bin"),
    (".asdf/installs/nodejs", "bin"),
    (".local/share/uv/python", "bin"),
    (".local/share/cursor-agent/versions", ""),
    (COPILOT, "prebuilds/linux-x64"),
];
/// Where Copilot unpacks itself, below the home folder.
const COPILOT: &str = ".cache/copilot/pkg/linux-x64";
/// What does so for it: no program, but a module of Node with a TLS library of its own.
const MODULE: &str = "runtime.node";
/// Where npm puts packages.
const PACKAGES: &str = "node_modules";
/// Names that are looked at in one go, in all folders and packages.
const MAX_NAMES: usize = 16_384;
/// Folders whose names are looked at.
const MAX_FOLDERS: usize = 1024;
/// Executables given; more are met when they run.
const MAX_FOUND: usize = 128;

/// Paths of the executables of `known`.
pub(super) fn installed(known: &[KnownExecutable]) -> Vec<PathBuf> {
    let homes = homes();
    let folders = EVERYBODY.map(PathBuf::from).into_iter().chain(homes.iter().flat_map(|home| of_user(home)));
    within(folders.take(MAX_FOLDERS), known)
}

/// Folders of one user with executables.
fn of_user(home: &Path) -> Vec<PathBuf> {
    let versions = VERSIONS.iter().flat_map(|(folder, below)| {
        entries(&home.join(folder)).map(|version| version.join(below)).collect::<Vec<_>>()
    });
    ONE_USER.iter().map(|folder| home.join(folder)).chain(versions).collect()
}

/// The same for given folders.
fn within(folders: impl Iterator<Item = PathBuf>, known: &[KnownExecutable]) -> Vec<PathBuf> {
    let is_known = |path: &Path| {
        known.iter().any(|known| known.fits(&path.to_string_lossy()))
            || path.file_name().is_some_and(|name| name == MODULE)
    };
    let mut left = MAX_NAMES;
    let mut packages = HashSet::new();
    let mut found = Vec::new();
    for path in folders.flat_map(|folder| entries(&folder).collect::<Vec<_>>()) {
        let Some(rest) = left.checked_sub(1).filter(|_| found.len() < MAX_FOUND) else { break };
        left = rest;
        if !is_known(&path) {
            continue;
        }
        // npm links a script there, which starts the program for this machine from elsewhere in the package.
        if let Some(package) = path.canonicalize().ok().as_deref().and_then(package)
            && packages.insert(package.to_owned())
        {
            found.extend(programs(package, &is_known, &mut left));
        }
        found.push(path);
    }
    found.truncate(MAX_FOUND);
    found
}

/// Executables for this machine in the npm package with `path`.
pub(crate) fn natives(path: &Path) -> Vec<PathBuf> {
    let is_native = |path: &Path| {
        let mut magic = [0; 4];
        File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
    };
    package(path).map(|package| programs(package, &is_native, &mut { MAX_NAMES })).unwrap_or_default()
}

/// The folder of the npm package with `path`.
fn package(path: &Path) -> Option<&Path> {
    let is_package = |folder: &&Path| {
        let parent = folder.parent();
        let above =
            |parent: Option<&Path>| parent.and_then(Path::file_name).is_some_and(|name| name == PACKAGES);
        let scoped =
            parent.and_then(Path::file_name).is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
        above(parent) || (scoped && above(parent.and_then(Path::parent)))
    };
    path.ancestors().skip(1).find(is_package)
}

/// Files in a package that may be executed and are known, nearest first; of `left` names at most.
fn programs(package: &Path, is_known: &impl Fn(&Path) -> bool, left: &mut usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = VecDeque::from([package.to_owned()]);
    while let Some(folder) = folders.pop_front() {
        for path in entries(&folder) {
            let Some(rest) = left.checked_sub(1) else { return found };
            *left = rest;
            // Links lead out of the package, or to what is met anyway.
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.is_dir() {
                folders.push_back(path);
            } else if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 && is_known(&path) {
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn put(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_program_behind_the_script_of_a_package_is_found() {
        let root = tempfile::tempdir().unwrap();
        let (bin, package) = (root.path().join("bin"), root.path().join("lib/node_modules/@maker/agent"));
        let native = package.join("node_modules/@maker/agent-linux-x64/vendor/bin/agent");
        put(&package.join("bin/agent.js"), 0o755);
        put(&native, 0o755);
        put(&package.join("doc/agent"), 0o644);
        put(&package.join("bin/other"), 0o755);
        put(&bin.join("plain"), 0o755);
        put(&bin.join("strange"), 0o755);
        symlink(package.join("bin/agent.js"), bin.join("agent")).unwrap();
        let known = ["agent", "plain"].map(|name| KnownExecutable::try_from(name.to_owned()).unwrap());
        let mut found = within([bin.clone(), root.path().join("none")].into_iter(), &known);
        found.sort();
        assert_eq!(found, [bin.join("agent"), bin.join("plain"), native]);
    }

    #[test]
    fn every_version_of_a_users_node_and_what_copilot_unpacked_is_found() {
        let home = tempfile::tempdir().unwrap();
        let all = [
            ".cache/copilot/pkg/linux-x64/1.0.102/prebuilds/linux-x64/runtime.node",
            ".local/share/cursor-agent/versions/2026.1/node",
            ".nvm/versions/node/v20.1.0/bin/node",
            ".nvm/versions/node/v22.2.0/bin/node",
        ];
        let mut all = all.map(|path| home.path().join(path));
        all.iter().for_each(|path| put(path, 0o755));
        put(&home.path().join(".cache/copilot/pkg/linux-x64/1.0.102/prebuilds/linux-x64/other.node"), 0o755);
        let known = [KnownExecutable::try_from("node".to_owned()).unwrap()];
        let mut found = within(of_user(home.path()).into_iter(), &known);
        found.sort();
        all.sort();
        assert_eq!(found, all);
    }
}
