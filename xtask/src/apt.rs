//! Debian packages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::shell::{run, say, text};

/// Asked by package scripts whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Keeps freshly installed packages from starting their services; removes its file when dropped.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
        let guard = Self { ours: true };
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {POLICY} executable"))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            say(format_args!(
                "cannot remove {POLICY}: remove it by hand, it keeps packages from starting services"
            ));
        }
    }
}

/// Whether this machine has apt.
pub(crate) fn is_here() -> bool {
    Path::new("/usr/bin/apt-get").is_file()
}

/// Installs packages; starts none of their services and removes nothing that is there.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    install_with(&[], packages)
}

/// As [`install`], with further options of apt-get.
pub(crate) fn install_with(options: &[String], packages: &[&str]) -> Result<()> {
    say(format_args!("installing {}", packages.join(" ")));
    let _quiet = NoServices::new()?;
    let mut command = apt_get();
    command.args(options).args(["install", "--yes", "--no-remove", "--no-install-recommends"]);
    run(command.args(packages)).context("apt-get could not install the packages")
}

/// Reads the package lists anew. One source out of reach is no reason to stop: another may have all that is needed.
pub(crate) fn update() {
    if let Err(error) = run(apt_get().arg("update")) {
        say(format_args!("the package lists may be old, check the network and /etc/apt: {error:#}"));
    }
}

/// Whether apt can install a package.
pub(crate) fn has_candidate(package: &str) -> Result<bool> {
    Ok(candidate(&text(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"))?))
}

fn candidate(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|version| version.trim() != "(none)")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_version_is_no_candidate() {
        assert!(candidate("wrk:\n  Installed: (none)\n  Candidate: 4.1.0-3+b2\n"));
        assert!(!candidate("npm:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!candidate(""));
    }
}
