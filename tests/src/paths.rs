//! Where things are: the repository, the build folder, scratch folders.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail};

/// A folder for one test, removed on drop unless `KEYWITNESS_KEEP` is set or the test fails.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new empty folder below the system's temporary folder.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("keywitness-{name}-{}-{number}", std::process::id()));
        // A folder of this name can only be left over from a process that is gone.
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("KEYWITNESS_KEEP").is_some() {
            eprintln!("kept for inspection: {}", self.0.display());
        } else {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}

/// The repository's root.
pub fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// A program built by this workspace, of the same profile as the running one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let running = std::env::current_exe()?;
    // Tests run from the `deps` folder, one below the programs.
    let found =
        running.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build` for the same profile first"))
}

/// The sensor under test: `KEYWITNESS_BIN`, or the one this workspace built.
pub fn keywitness() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KEYWITNESS_BIN").map(PathBuf::from) {
        if !path.is_file() {
            bail!("KEYWITNESS_BIN names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let built = ["release", "debug"].map(|profile| target().join(profile).join("keywitness"));
    let found = binary("keywitness").ok().or_else(|| built.into_iter().find(|path| path.is_file()));
    found.context("the sensor is not built: run `cargo xtask build`, or name it in KEYWITNESS_BIN")
}

/// The real path of `program` found on `PATH`.
pub fn on_path(program: &str) -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not installed: run `cargo xtask setup`"))
}
