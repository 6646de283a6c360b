//! `lint`: format, clippy on both sides, and the project's own source rules.

mod layering;
mod sources;
pub(crate) mod targets;

use anyhow::{Result, bail};

use crate::shell::{run, say};
use crate::toolchain::{DEBIAN_CLIPPY, Kit, Toolchain};
use crate::{setup, workspace};

/// Runs the verb.
pub(crate) fn main() -> Result<()> {
    type Step = fn() -> Result<()>;
    let steps: [(&str, Step); 4] =
        [("format", format), ("clippy", || clippy(&[])), ("kernel clippy", kernel_clippy), ("rules", rules)];
    let mut failed = Vec::new();
    for (name, step) in steps {
        say(name);
        if let Err(error) = step() {
            say(format_args!("{name} FAILED: {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Checks the format of every crate.
pub(crate) fn format() -> Result<()> {
    run(workspace::cargo("fmt").args(["--all", "--", "--check"]))
}

/// Clippy on the user side, warnings denied.
pub(crate) fn clippy(features: &[&str]) -> Result<()> {
    run(workspace::cargo("clippy")
        .args(["--quiet", "--all-targets"])
        .args(features)
        .args(["--", "-D", "warnings"]))
}

/// The rules that no compiler checks: size (told only), unsafe code, direction of dependencies.
pub(crate) fn rules() -> Result<()> {
    let files = sources::read(workspace::root())?;
    for (path, lines) in sources::long(&files) {
        say(format_args!("{path} has {lines} lines: think again"));
    }
    let mut broken = sources::unsafe_code(&files);
    broken.extend(sources::aya_users(&files));
    broken.extend(layering::broken()?);
    for line in &broken {
        say(line);
    }
    if !broken.is_empty() {
        bail!("{} source rules are broken", broken.len());
    }
    Ok(())
}

/// Clippy on the kernel side, with the clippy of the compiler that builds it.
fn kernel_clippy() -> Result<()> {
    let kit = Kit::detect()?;
    setup::ensure_kernel_clippy(kit.toolchain)?;
    match kit.toolchain {
        // `cargo clippy` would take rustup's driver, which cannot read Debian's `core`.
        Toolchain::Debian => run(kit
            .cargo("check")
            .env("RUSTC_WORKSPACE_WRAPPER", DEBIAN_CLIPPY)
            .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__")),
        Toolchain::Nightly => run(kit.cargo("clippy").args(["--", "-D", "warnings"])),
    }
}
