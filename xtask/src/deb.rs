//! `deb`: the Debian packages, by cargo-deb.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{find, run, say, text};
use crate::{build, workspace};

/// The version of cargo-deb that is installed when there is none.
const CARGO_DEB: &str = "3.8.0";
/// Where the package's description looks for what is made here, below the repository's root. Below cargo's own target
/// folder cargo-deb takes everything for executables and does not compress it.
const MADE: &str = "target/deb";
/// Shells, and the names of the files that complete commands in them.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "keywitness.bash"), ("fish", "keywitness.fish"), ("zsh", "_keywitness")];

/// The sensor's package, by the name of its crate.
pub(crate) const SENSOR: &str = "sensor-user";
/// The collector's.
pub(crate) const COLLECTOR: &str = "keywitness-collector";

/// How to package.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Package the executables that are there already
    #[arg(long)]
    no_build: bool,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    if !args.no_build {
        build()?;
    }
    for of in [SENSOR, COLLECTOR] {
        say(format_args!("built {}", package(of, None)?.display()));
    }
    Ok(())
}

/// Builds what is packaged.
pub(crate) fn build() -> Result<()> {
    build::kernel()?;
    build::sensor(true, false)?;
    say("building the collector");
    run(workspace::cargo("build").args(["--release", "--package", COLLECTOR]))
}

/// Packages the release that is built already and gives the package's path; another `version` is for tests of
/// upgrades.
pub(crate) fn package(of: &str, version: Option<&str>) -> Result<PathBuf> {
    ensure_cargo_deb()?;
    if of == SENSOR {
        describe(&workspace::executable("keywitness", true), &workspace::root().join(MADE))?;
    }
    let mut cargo = workspace::cargo("deb");
    cargo.args(["--package", of, "--no-build", "--strip", "--quiet"]);
    if let Some(version) = version {
        cargo.args(["--deb-version", version]);
    }
    Ok(PathBuf::from(text(&mut cargo)?.trim()))
}

fn ensure_cargo_deb() -> Result<()> {
    if find("cargo-deb").is_some() {
        return Ok(());
    }
    say(format_args!("building cargo-deb {CARGO_DEB}, which takes some minutes"));
    let mut cargo = workspace::cargo("install");
    cargo.args(["--locked", "--quiet", "cargo-deb", "--version", CARGO_DEB]);
    // With the workspace's own target folder the build would stay there.
    run(cargo.env_remove("CARGO_TARGET_DIR").env_remove(workspace::OBJECT_VARIABLE).current_dir("/"))
        .context("cargo-deb could not be installed")
}

/// Has the executable write its manual pages and completions into `folder`.
fn describe(executable: &Path, folder: &Path) -> Result<()> {
    let man = folder.join("man");
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&man).with_context(|| format!("cannot create {}", man.display()))?;
    run(Command::new(executable).arg("man").arg(&man))?;
    for (shell, file) in COMPLETIONS {
        let file = folder.join(file);
        let out = File::create(&file).with_context(|| format!("cannot create {}", file.display()))?;
        run(Command::new(executable).args(["completions", shell]).stdout(out))?;
    }
    Ok(())
}
