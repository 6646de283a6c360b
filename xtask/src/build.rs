//! `build`: the kernel object from source, then the user side with it embedded.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::{run, say};
use crate::toolchain::{self, Kit, TARGET};
use crate::workspace;

/// The kernel side's binary.
const KERNEL_BINARY: &str = "keywitness-ebpf";

/// How to build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// With optimisation
    #[arg(long)]
    pub(crate) release: bool,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    kernel()?;
    sensor(args.release, false)?;
    say(format_args!("built {}", workspace::executable("keywitness", args.release).display()));
    Ok(())
}

/// Builds the kernel object and gives its path.
pub(crate) fn kernel() -> Result<PathBuf> {
    let kit = Kit::detect()?;
    say(format_args!("building the kernel object with {}", kit.toolchain));
    run(kit.cargo("build").args(["--bin", KERNEL_BINARY])).context("the kernel object could not be built")?;
    let built = toolchain::target_dir().join(TARGET).join("release").join(KERNEL_BINARY);
    let object = workspace::kernel_object();
    if copy_if_changed(&built, &object)? {
        say(format_args!("new kernel object {}", object.display()));
    }
    Ok(object)
}

/// Builds the sensor and, when asked for, the demo with all that it starts.
pub(crate) fn sensor(release: bool, demo: bool) -> Result<()> {
    say("building the sensor");
    let mut cargo = workspace::cargo("build");
    cargo.args(["--package", "sensor-user", "--bins"]);
    if demo {
        cargo.args(["--package", "keywitness-tests"]);
    }
    if release {
        cargo.arg("--release");
    }
    run(&mut cargo)
}

/// Copies by rename, and only other bytes: what is embedded elsewhere is not built again for nothing.
fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let new = to.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, bytes).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_bytes_are_not_written_again() {
        let dir = std::env::temp_dir().join(format!("xtask-build-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (from, to) = (dir.join("from"), dir.join("to.o"));
        fs::write(&from, "one").unwrap();
        assert!(copy_if_changed(&from, &to).unwrap());
        assert!(!copy_if_changed(&from, &to).unwrap());
        fs::write(&from, "two").unwrap();
        assert!(copy_if_changed(&from, &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"two");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing else is left");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn missing_source_is_named() {
        let error = copy_if_changed(Path::new("/no/such/object"), Path::new("/tmp/x")).unwrap_err();
        assert!(error.to_string().contains("/no/such/object"));
    }
}
