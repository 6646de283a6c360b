//! The first and only file system of a test machine: programs of this host with the libraries they need.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell::{find, run, text};

/// First bytes of an executable or library.
const ELF: &[u8] = b"\x7fELF";

/// A tree that becomes an archive.
pub(super) struct Tree {
    root: PathBuf,
    added: BTreeSet<PathBuf>,
}

impl Tree {
    /// An empty tree at `root`, with busybox and the folders that are mounted over.
    pub(super) fn new(root: &Path) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("cannot empty {}", root.display()))?;
        }
        for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var/lib"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let mut tree = Self { root: root.to_owned(), added: BTreeSet::new() };
        let busybox = find("busybox").context("busybox is not installed: run `cargo xtask setup --tests`")?;
        tree.put(&busybox, Path::new("/bin/busybox"))?;
        // Not busybox, whose shell takes its own wget for every wget.
        let shell = find("dash").context("dash is not installed")?;
        tree.put(&shell, Path::new("/bin/sh"))?;
        tree.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
        tree.write("/etc/group", "root:x:0:\n")?;
        tree.write("/etc/nsswitch.conf", "hosts: files\n")?;
        tree.write("/etc/hosts", "127.0.0.1 localhost\n")?;
        Ok(tree)
    }

    /// Adds a file or folder of this host at the same place; links are followed.
    pub(super) fn add(&mut self, path: &Path) -> Result<()> {
        if !path.is_dir() {
            return self.put(path, path);
        }
        let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        for entry in entries {
            let path = entry?.path();
            // Caches of a compiler for another user's convenience; and links that lead nowhere.
            if !path.ends_with("__pycache__") && path.exists() {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    /// Adds one file of this host as `to`, with the libraries it is linked with.
    pub(super) fn put(&mut self, from: &Path, to: &Path) -> Result<()> {
        let place = self.place(to)?;
        if !self.added.insert(place.clone()) {
            return Ok(());
        }
        fs::copy(from, &place)
            .with_context(|| format!("cannot copy {} to {}", from.display(), place.display()))?;
        for library in libraries(from)? {
            self.put(&library, &library)?;
        }
        Ok(())
    }

    /// As [`Tree::put`], without symbols and debug information.
    pub(super) fn put_stripped(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.put(from, to)?;
        run(Command::new("strip").arg(self.place(to)?))
    }

    /// Writes a file.
    pub(super) fn write(&mut self, to: &str, text: &str) -> Result<()> {
        let place = self.place(Path::new(to))?;
        fs::write(&place, text).with_context(|| format!("cannot write {}", place.display()))
    }

    /// Writes a program.
    pub(super) fn script(&mut self, to: &str, text: &str) -> Result<()> {
        self.write(to, text)?;
        Ok(fs::set_permissions(self.place(Path::new(to))?, fs::Permissions::from_mode(0o755))?)
    }

    fn place(&self, path: &Path) -> Result<PathBuf> {
        let place = self.root.join(path.strip_prefix("/").context("not an absolute path")?);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(place)
    }

    /// Packs it into the archive form that a kernel unpacks at boot (newc).
    pub(super) fn pack(self, archive: &Path) -> Result<()> {
        let file = File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "find . | busybox cpio -o -H newc"]).current_dir(&self.root);
        run(command.stdout(file).stderr(Stdio::null()))?;
        fs::remove_dir_all(&self.root).with_context(|| format!("cannot remove {}", self.root.display()))
    }
}

/// The shared libraries that the loader would map for an executable or library; none for anything else.
fn libraries(path: &Path) -> Result<Vec<PathBuf>> {
    let mut start = [0; 4];
    let read = File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut start));
    if read.with_context(|| format!("cannot read {}", path.display()))? < ELF.len() || start != ELF {
        return Ok(Vec::new());
    }
    let output = Command::new("ldd").arg(path).env("LC_ALL", "C").output().context("cannot start ldd")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    // ldd fails on what is linked statically.
    linked(&listed).with_context(|| format!("{} cannot be run here", path.display()))
}

fn linked(listed: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in listed.lines() {
        if line.ends_with("not found") {
            bail!("a library is missing: {}", line.trim());
        }
        let path = line.split(" => ").last().unwrap_or(line).split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(path.into());
        }
    }
    Ok(found)
}

/// Where this host's C library looks up names by files.
pub(super) fn name_service() -> Result<PathBuf> {
    let cache = text(Command::new("ldconfig").arg("-p"))?;
    let line = cache.lines().find(|line| line.contains("libnss_files.so.2") && line.contains("x86-64"));
    let path =
        line.and_then(|line| line.split(" => ").nth(1)).context("the C library has no libnss_files")?;
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_loaders_list() {
        let listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(linked(listed).unwrap(), paths);
        assert!(linked("\tnot a dynamic executable\n").unwrap().is_empty());
        assert!(linked("\tlibx.so => not found\n").is_err());
    }

    #[test]
    fn a_tree_holds_a_program_with_its_loader_and_is_packed() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        let mut tree = Tree::new(&root.join("tree")).unwrap();
        tree.add(&find("ls").unwrap()).unwrap();
        assert!(root.join("tree/lib64/ld-linux-x86-64.so.2").is_file());
        tree.pack(&root.join("archive")).unwrap();
        assert!(fs::read(root.join("archive")).unwrap().starts_with(b"070701"));
        fs::remove_dir_all(&root).unwrap();
    }
}
