//! Running a kernel in QEMU. No hardware help: nested guests hang on some machines, and plain emulation boots
//! everywhere.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::mirror::Mirror;
use crate::apt;
use crate::shell::{find, require_root, say};
use crate::stop::{Group, Interrupt};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Memory of a machine, in MiB.
const MEMORY: &str = "1400";
/// Kernel arguments of every machine: BPF is among the security modules, a crash ends it, and systemd, where there is
/// one, knows that an emulated machine is slow.
const ARGUMENTS: &str = "console=ttyS0 panic=-1 quiet lsm=lockdown,yama,integrity,apparmor,bpf \
    systemd.default_timeout_start_sec=900";
/// Lines of the console that an error shows.
const SHOWN_LINES: usize = 40;

/// A machine to be booted.
pub(super) struct Machine<'a> {
    /// Compressed kernel.
    pub(super) kernel: &'a Path,
    /// Archive with the first file system.
    pub(super) initramfs: &'a Path,
    /// Disk, whose changes are not kept.
    pub(super) disk: Option<&'a Path>,
    /// Folder for what it writes.
    pub(super) folder: &'a Path,
    /// Longest run.
    pub(super) limit: Duration,
}

/// Installs QEMU unless it is there.
pub(super) fn ensure(folder: &Path) -> Result<()> {
    if find(PROGRAM).is_some() {
        return Ok(());
    }
    require_root("installing QEMU")?;
    apt::update();
    let Err(error) = apt::install(&[PACKAGE]) else { return Ok(()) };
    // A tool of QEMU's newer version from backports keeps the usual version out.
    say(format_args!("{error:#}; trying backports"));
    let codename = codename(&fs::read_to_string("/etc/os-release")?)?;
    let backports = format!("{codename}-backports");
    let mirror = Mirror::open(&folder.join("qemu-apt"), &[&codename, &backports])?;
    mirror.install(&backports, &[PACKAGE])
}

pub(super) fn codename(os_release: &str) -> Result<String> {
    let found = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(found.context("/etc/os-release has no VERSION_CODENAME")?.trim_matches('"').to_owned())
}

impl Machine<'_> {
    /// The file with what its console shows.
    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Boots it and waits until it ends by itself; gives the file with what its second serial line wrote.
    pub(super) fn run(&self, interrupt: &Interrupt) -> Result<PathBuf> {
        fs::create_dir_all(self.folder)?;
        let (console, report) = (self.console(), self.folder.join("report.jsonl"));
        for file in [&console, &report] {
            File::create(file).with_context(|| format!("cannot create {}", file.display()))?;
        }
        let mut command = Command::new(PROGRAM);
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(self.initramfs);
        command.args(["-append", ARGUMENTS]);
        for file in [&console, &report] {
            command.arg("-serial").arg(format!("file:{}", file.display()));
        }
        if let Some(disk) = self.disk {
            command.arg("-drive").arg(format!("file={},format=raw,if=virtio,snapshot=on", disk.display()));
        }
        let mut machine = Group::start(PROGRAM, command.stdin(Stdio::null()))?;
        if !interrupt.wait_until(self.limit, || Ok(machine.ended()?.is_some()))? {
            bail!("the machine did not end within {:?}; its console:\n{}", self.limit, tail(&console));
        }
        let status = machine.stop()?;
        if !status.success() {
            bail!("{PROGRAM} ended with {status}; the console:\n{}", tail(&console));
        }
        Ok(report)
    }
}

/// The last lines of a machine's console.
pub(super) fn tail(console: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codename_is_read_with_and_without_quotes() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap(), "bookworm");
        assert_eq!(codename("VERSION_CODENAME=\"trixie\"\n").unwrap(), "trixie");
        assert!(codename("ID=debian\n").is_err());
    }
}
