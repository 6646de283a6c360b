//! A whole Debian in a machine: systemd, containerd, cgroup v2 alone. The release packages are installed, upgraded and
//! removed there as docs/deploy.md says, and tests that need pods run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::initramfs::Tree;
use super::kernels::{Image, Kernel};
use super::qemu::{self, Machine};
use super::{PATIENCE, PROGRAMS, mirror};
use crate::shell::{run, say, text};
use crate::stop::Interrupt;
use crate::{deb, test, workspace};

/// What the system has besides the smallest Debian.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,containerd,runc,curl,iproute2,busybox-static,bpftool,ca-certificates";
/// Room on its disk; what is not used takes no space.
const DISK: &str = "3G";
/// Modules without which the disk cannot be seen.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// Version of the package that is upgraded to.
const NEXT_VERSION: &str = "9999";
/// Test program and tests that run in the system.
const TEST_PROGRAM: &str = "identity";
const TESTS: [&str; 2] = [
    "pods_of_containerd_are_known_and_a_pod_of_the_same_name_is_another",
    "a_unit_is_known_by_its_cgroup_and_started_again_is_another_instance",
];
/// Longest run.
const LIMIT: Duration = Duration::from_secs(3600);
/// The folder in the system where packages are as after `cargo xtask deb`, and where the next version is.
const BUILT: &str = "/opt/keywitness";
const NEW: &str = "/opt/new.deb";
/// The guide that is followed there.
const GUIDE: &str = "docs/deploy.md";
/// Names of the system: of the sensor's and, in docs/deploy.md, the collector's host.
const HOSTS: &str = "127.0.0.1 localhost web-1 collector.example\n";
const HOST: &str = "web-1\n";

/// Boots a whole system with `kernel` and gives the raw report; an error names everything that went wrong.
pub(super) fn check(kernel: &Kernel, folder: &Path, interrupt: &Interrupt) -> Result<PathBuf> {
    let image = kernel.fetch(folder)?;
    let disk = disk(folder)?;
    deb::build()?;
    let archive = archive(folder, &image)?;
    say(format_args!("booting a whole system with {} ({})", kernel.name, image.release()));
    let machine = Machine {
        kernel: &image.kernel,
        initramfs: &archive,
        disk: Some(&disk),
        folder: &folder.join("machines/system"),
        limit: LIMIT,
    };
    let report = machine.run(interrupt)?;
    let rows = fs::read_to_string(&report)?;
    let complaints =
        complaints(&rows).with_context(|| format!("the console:\n{}", qemu::tail(&machine.console())))?;
    if !complaints.is_empty() {
        bail!("in a whole system with {}: {}", kernel.name, complaints.join("\n"));
    }
    Ok(report)
}

/// What went wrong; an error when the report is not whole.
fn complaints(rows: &str) -> Result<Vec<String>> {
    let rows: Vec<Value> = rows.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    if rows.last().and_then(Value::as_str) != Some("done") {
        bail!("the system ended before the run did");
    }
    let steps = rows.iter().flat_map(|row| [&row["package"], &row["test"]]);
    let told =
        steps.filter_map(|step| Some(format!("{}: {}", step["name"].as_str()?, step["error"].as_str()?)));
    Ok(told.collect())
}

/// The disk with the system, made once.
fn disk(folder: &Path) -> Result<PathBuf> {
    let disk = folder.join("system.ext4");
    if disk.is_file() {
        return Ok(disk);
    }
    let (root, new) = (folder.join("root"), folder.join("system.new"));
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    let suite =
        qemu::codename(&fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?)?;
    say(format_args!("making a Debian {suite} for the machine"));
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), &suite]);
    run(debootstrap.arg(&root).arg(mirror::address()?).stdout(std::io::stderr()))?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&root).arg(&new).arg(DISK))?;
    fs::rename(&new, &disk).with_context(|| format!("cannot rename {}", new.display()))?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    Ok(disk)
}

/// The first file system: finds the disk, adds what is built here, hands over to systemd.
fn archive(folder: &Path, image: &Image) -> Result<PathBuf> {
    let guest = workspace::executable(PROGRAMS[0], false);
    let mut tree = Tree::new(&folder.join("tree"))?;
    let mut modules = Vec::new();
    for module in in_order(&dependencies(image)?, &MODULES)? {
        let name = format!("/modules/{}", modules.len());
        tree.put(&image.modules.join(&module), Path::new(&name))?;
        modules.push(name);
    }
    let system = |path: &Path| Path::new("/payload").join(path.strip_prefix("/").unwrap_or(path));
    let test = test_program()?;
    for path in PROGRAMS.map(|program| workspace::executable(program, false)).iter().chain([&test]) {
        tree.put_stripped(path, &system(path))?;
    }
    let clients = workspace::root().join("tests/clients");
    for script in fs::read_dir(&clients).with_context(|| format!("cannot read {}", clients.display()))? {
        let path = script?.path();
        if path.is_file() {
            tree.put(&path, &system(&path))?;
        }
    }
    say("packing the Debian packages");
    tree.put(&workspace::root().join(GUIDE), &system(&Path::new(BUILT).join(GUIDE)))?;
    for of in [deb::SENSOR, deb::COLLECTOR] {
        let package = deb::package(of, None)?;
        let name = package.file_name().context("a package without a name")?;
        tree.put(&package, &system(&Path::new(BUILT).join("target/debian").join(name)))?;
    }
    tree.put(&deb::package(deb::SENSOR, Some(NEXT_VERSION))?, &system(Path::new(NEW)))?;
    tree.write("/payload/etc/hosts", HOSTS)?;
    tree.write("/payload/etc/hostname", HOST)?;
    tree.write("/payload/etc/systemd/system/guest.service", &unit(&guest, &test))?;
    tree.script("/init", &init(&modules))?;
    let archive = folder.join("system.cpio");
    tree.pack(&archive)?;
    Ok(archive)
}

/// The built test program.
fn test_program() -> Result<PathBuf> {
    let mut cargo = workspace::cargo("test");
    cargo.args(test::FEATURES).args(["--package", "keywitness-tests", "--test", TEST_PROGRAM]);
    let messages = text(cargo.args(["--no-run", "--message-format=json"]))?;
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let own = message["target"]["name"] == TEST_PROGRAM;
        own.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    };
    messages
        .lines()
        .find_map(executable)
        .with_context(|| format!("cargo named no test program {TEST_PROGRAM}"))
}

/// What each module needs (modules.dep(5)), which the kernel's package leaves to the machine it is installed on.
fn dependencies(image: &Image) -> Result<String> {
    let root = image.modules.ancestors().nth(3).context("modules lie in lib/modules/RELEASE")?;
    run(Command::new("depmod").arg("--basedir").arg(root).arg(image.release()))?;
    let file = image.modules.join("modules.dep");
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// The files of modules and of all that they need, the needed ones first (modules.dep(5)).
fn in_order(dependencies: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    for module in wanted {
        let is = |line: &&str| {
            let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            file.split('.').next() == Some(*module)
        };
        // What is built in has no line.
        let Some(line) = dependencies.lines().find(is) else { continue };
        let (own, needed) = line.split_once(':').context("modules.dep has a line without a colon")?;
        let files = needed.split_whitespace().rev().chain([own]);
        for file in files {
            if file.ends_with(".xz") {
                bail!("{file} is compressed: choose a kernel whose modules are not");
            }
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    Ok(order)
}

/// Programs that were built below /tmp would be removed from it at boot.
fn init(modules: &[String]) -> String {
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         mount -t devtmpfs none /dev; mkdir /disk\n\
         for module in {}; do insmod $module; done\n\
         until [ -b /dev/vda ]; do usleep 50000; done\n\
         mount -t ext4 /dev/vda /disk && cp -a /payload/. /disk/\n\
         mkdir -p /disk/etc/systemd/system/multi-user.target.wants /disk/etc/tmpfiles.d\n\
         ln -s /dev/null /disk/etc/tmpfiles.d/tmp.conf\n\
         ln -s ../guest.service /disk/etc/systemd/system/multi-user.target.wants/\n\
         exec switch_root /disk /sbin/init\n",
        modules.join(" ")
    )
}

fn unit(guest: &Path, test: &Path) -> String {
    format!(
        "[Unit]\nDescription=The run of this machine\nAfter=dbus.service containerd.service\n\
         [Service]\nType=oneshot\nStandardOutput=file:/dev/ttyS1\nStandardError=tty\nTTYPath=/dev/ttyS0\n\
         Environment=CARGO_TARGET_DIR={target} KEYWITNESS_PATIENCE={PATIENCE} LANG=C.UTF-8 HOME=/root\n\
         Environment=PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin\n\
         ExecStartPre=/bin/stty -F /dev/ttyS1 raw\n\
         ExecStart={guest} system --built {BUILT} --new {NEW} --program {test} {tests}\n\
         ExecStopPost=-/bin/sh -c 'journalctl --no-pager --lines 40 --unit guest --unit keywitness --unit keywitness-collector >/dev/ttyS0'\n\
         ExecStopPost=/bin/systemctl poweroff --force\n",
        target = workspace::target_dir().display(),
        guest = guest.display(),
        test = test.display(),
        tests = TESTS.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need_and_once() {
        let dependencies = "kernel/virtio.ko:\nkernel/ring.ko: kernel/virtio.ko\n\
            kernel/virtio_pci.ko: kernel/ring.ko kernel/virtio.ko\nkernel/virtio_blk.ko: kernel/virtio.ko\n";
        let order = in_order(dependencies, &["virtio_pci", "virtio_blk", "built_in"]).unwrap();
        assert_eq!(
            order,
            ["kernel/virtio.ko", "kernel/ring.ko", "kernel/virtio_pci.ko", "kernel/virtio_blk.ko"]
        );
        assert!(in_order("kernel/a.ko.xz:\n", &["a"]).is_err());
    }

    #[test]
    fn a_step_that_failed_is_told_and_a_report_that_ends_early_is_an_error() {
        let row = r#"{"test":{"name":"pods","seen":[],"error":"no pod"}}"#;
        assert_eq!(complaints(&format!("{row}\n\"done\"\n")).unwrap(), ["pods: no pod"]);
        assert!(complaints(row).is_err());
    }
}
