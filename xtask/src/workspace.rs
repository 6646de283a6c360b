//! Where things are, and the one way to call cargo on the user side.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that tells the sensor's build script which kernel object to embed.
pub(crate) const OBJECT_VARIABLE: &str = "KEYWITNESS_BPF_OBJECT";

/// The repository's root folder.
pub(crate) fn root() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the repository.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_else(|_| root().to_owned()).join(dir),
        None => root().join("target"),
    }
}

/// Where the kernel object is put after a build.
pub(crate) fn kernel_object() -> PathBuf {
    target_dir().join("bpf/keywitness.bpf.o")
}

/// Where cargo puts an executable of the user side.
pub(crate) fn executable(name: &str, release: bool) -> PathBuf {
    target_dir().join(if release { "release" } else { "debug" }).join(name)
}

/// Cargo in the repository's root. Every call carries the same environment, so that nothing is built twice.
pub(crate) fn cargo(verb: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .arg(verb)
        .current_dir(root())
        .stdin(Stdio::null())
        .env("CARGO_TARGET_DIR", target_dir())
        .env(OBJECT_VARIABLE, kernel_object());
    forget_this_package(&mut command);
    command
}

/// Removes what cargo told xtask about xtask itself: build scripts that look at it would run again.
pub(crate) fn forget_this_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_holds_the_workspace_manifest() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn every_cargo_call_names_the_same_kernel_object() {
        let value = |command: &Command| {
            command
                .get_envs()
                .find(|(name, _)| *name == OBJECT_VARIABLE)
                .and_then(|(_, value)| value.map(PathBuf::from))
        };
        assert_eq!(value(&cargo("build")), Some(kernel_object()));
        assert_eq!(value(&cargo("build")), value(&cargo("clippy")));
    }
}
