//! Packages of other Debian suites, from the mirror that apt already uses, without touching the machine's own lists.
//! apt checks signatures and hashes as it always does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::shell::{run, text};

/// Keys of Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What is installed on this machine (dpkg(1)).
const INSTALLED: &str = "/var/lib/dpkg/status";

/// A private view of the mirror: some suites, and nothing installed.
pub(super) struct Mirror {
    folder: PathBuf,
}

/// Address of the Debian archive that apt is configured with.
pub(super) fn address() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let found = text(&mut targets)?;
    let own = found.lines().find_map(|line| line.strip_prefix("Debian Debian "));
    Ok(own.context("apt has no Debian archive among its sources: see /etc/apt")?.to_owned())
}

impl Mirror {
    /// Reads the package lists of `suites` into `folder`.
    pub(super) fn open(folder: &Path, suites: &[&str]) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        }
        let address = address()?;
        let line = |suite: &&str| format!("deb [signed-by={KEYRING}] {address} {suite} main\n");
        fs::write(folder.join("sources.list"), suites.iter().map(line).collect::<String>())?;
        fs::write(folder.join("status"), "")?;
        let mirror = Self { folder: folder.to_owned() };
        run(mirror.command("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("cannot read the package lists of {}", suites.join(", ")))?;
        Ok(mirror)
    }

    /// apt's options that make it look here; `status` says which packages count as installed.
    fn options(&self, status: &Path) -> Vec<String> {
        let place = |name: &str, path: &Path| format!("{name}={}", self.folder.join(path).display());
        let settings = [
            place("Dir::State", Path::new("")),
            place("Dir::State::status", status),
            place("Dir::Cache", Path::new("cache")),
            place("Dir::Etc::sourcelist", Path::new("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Acquire::Languages=none".into(),
            // The folder need not be open to apt's own user.
            "APT::Sandbox::User=root".into(),
        ];
        settings.into_iter().flat_map(|setting| ["-o".into(), setting]).collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options(Path::new("status"))).env("LC_ALL", "C");
        command
    }

    /// Installs packages of `suite` on this machine.
    pub(super) fn install(&self, suite: &str, packages: &[&str]) -> Result<()> {
        let mut options = self.options(Path::new(INSTALLED));
        options.extend(["--target-release".to_owned(), suite.to_owned()]);
        apt::install_with(&options, packages)
    }

    /// The first package that the newest version of `package` depends on.
    pub(super) fn dependency(&self, package: &str) -> Result<String> {
        let shown = text(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        first_dependency(&shown).with_context(|| format!("{package} depends on nothing"))
    }

    /// Fetches `package` and unpacks it below `to`, without running any of its scripts.
    pub(super) fn unpack(&self, package: &str, to: &Path) -> Result<()> {
        let files = self.folder.join("files");
        if files.exists() {
            fs::remove_dir_all(&files)?;
        }
        fs::create_dir_all(&files)?;
        run(self.command("apt-get").args(["-qq", "download", package]).current_dir(&files))?;
        let mut found = fs::read_dir(&files)?;
        let Some(file) = found.next() else { bail!("apt-get did not bring {package}") };
        run(Command::new("dpkg").arg("-x").arg(file?.path()).arg(to))?;
        Ok(fs::remove_dir_all(&files)?)
    }
}

fn first_dependency(shown: &str) -> Option<String> {
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    depends.split([' ', ',']).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_package_leads_to_the_kernel_it_depends_on() {
        let shown =
            "Package: linux-image-cloud-amd64\nDepends: linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1), b\n";
        assert_eq!(first_dependency(shown).as_deref(), Some("linux-image-6.1.0-50-cloud-amd64"));
        assert_eq!(first_dependency("Package: x\n"), None);
    }
}
