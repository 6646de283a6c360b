//! `vm`: the end-to-end run on other kernels, in emulated machines, and the report about them.

mod initramfs;
mod kernels;
mod mirror;
mod qemu;
mod report;
mod system;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell::{require_root, run, say, text};
use crate::stop::Interrupt;
use crate::{build, mounts, setup, test, workspace};
use initramfs::Tree;
use kernels::Kernel;
use qemu::Machine;
use report::Rows;

/// Longest run of a machine: the short and the full one.
const LIMITS: [Duration; 2] = [Duration::from_secs(900), Duration::from_secs(3600)];
/// How many times as long as usual things may take in an emulated machine.
const PATIENCE: u32 = 12;
/// Name of the running kernel in the report, and among the arguments.
const HOST: &str = "this host";
const RUNNING: &str = "host";
/// Name of the whole system among the raw rows, and the kernel it has.
const SYSTEM: &str = "system";
const SYSTEM_KERNEL: &str = "6.1";
/// Programs of the workspace that the run needs.
const PROGRAMS: [&str; 3] = ["vm-guest", "model-server", "keywitness"];

/// What to boot.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kernel of vagrant/kernels.toml, by version or name, or `host` for the running one (may be repeated)
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// A few calls on the oldest and the newest kernel, and no report
    #[arg(long, conflicts_with = "kernel")]
    smoke: bool,
    /// Only the whole system: systemd, the Debian package, pods
    #[arg(long, conflicts_with_all = ["kernel", "smoke"])]
    system: bool,
    /// Only write docs/kernels.md from the rows of earlier runs
    #[arg(long, conflicts_with_all = ["kernel", "smoke", "system"])]
    report: bool,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.report {
        return tell(&kernels::read()?, &folder());
    }
    require_root("making and running test machines")?;
    let whole = args.system || (!args.smoke && args.kernel.is_empty());
    setup::ensure(&setup::Args { tests: true, system: whole, ..setup::Args::default() })?;
    build::kernel()?;
    build_programs()?;
    match args {
        Args { smoke: true, .. } => smoke(&Interrupt::new()?),
        Args { system: true, .. } => system(&folder(), &Interrupt::new()?),
        Args { kernel, .. } => full(kernel),
    }
}

/// Installs what machines are run with.
pub(crate) fn ensure() -> Result<()> {
    qemu::ensure(&folder())
}

/// A few calls on the oldest and the newest kernel, with programs that are built already.
pub(crate) fn smoke(interrupt: &Interrupt) -> Result<()> {
    let all = kernels::read()?;
    let (Some(oldest), Some(newest)) = (all.first(), all.last()) else { bail!("there is no kernel to boot") };
    let folder = folder();
    qemu::ensure(&folder)?;
    let archive = archive(&folder, true)?;
    for kernel in [oldest, newest] {
        let rows = boot(kernel, &folder, &archive, interrupt, true)?;
        rows.require(&kernel.name)?;
        say(format_args!("{} ({}): {}", kernel.name, rows.release(), rows.summary()));
    }
    Ok(())
}

/// The whole system, with the kernel that is meant for it.
fn system(folder: &Path, interrupt: &Interrupt) -> Result<()> {
    qemu::ensure(folder)?;
    let kernel = kernels::chosen(kernels::read()?, &[SYSTEM_KERNEL.to_owned()])?.remove(0);
    let report = system::check(&kernel, folder, interrupt)?;
    keep(&report, &raw(folder, SYSTEM))?;
    say("the whole system: everything as it should be");
    Ok(())
}

fn full(wanted: &[String]) -> Result<()> {
    let all = kernels::read()?;
    let folder = folder();
    qemu::ensure(&folder)?;
    let archive = archive(&folder, false)?;
    let interrupt = Interrupt::new()?;
    let mut failed = Vec::new();
    let mut note =
        |name: &str, rows: Result<Rows>| match rows.and_then(|rows| rows.require(name).map(|()| rows)) {
            Ok(rows) => say(format_args!("{name} ({}): {}", rows.release(), rows.summary())),
            Err(error) => {
                say(format_args!("{name} FAILED: {error:#}"));
                failed.push(name.to_owned());
            }
        };
    let (here, others): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|word| word == RUNNING);
    let chosen = match others.is_empty() && !here.is_empty() {
        true => Vec::new(),
        false => kernels::chosen(all.clone(), &others)?,
    };
    if wanted.is_empty() || !here.is_empty() {
        note(HOST, host(&folder));
    }
    for kernel in chosen {
        note(&kernel.name, boot(&kernel, &folder, &archive, &interrupt, false));
    }
    if wanted.is_empty()
        && let Err(error) = system(&folder, &interrupt)
    {
        say(format_args!("{SYSTEM} FAILED: {error:#}"));
        failed.push(SYSTEM.to_owned());
    }
    tell(&all, &folder)?;
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// Writes the report from the rows that there are.
fn tell(all: &[Kernel], folder: &Path) -> Result<()> {
    let (mut ran, mut missing) = (Vec::new(), Vec::new());
    for name in all.iter().map(|kernel| kernel.name.as_str()).chain([HOST]) {
        match raw(folder, name) {
            rows if rows.is_file() => ran.push((name.to_owned(), Rows::read(&rows)?)),
            _ => missing.push(name),
        }
    }
    report::write(&ran, &missing)
}

/// Where kernels, machines and raw rows are kept.
fn folder() -> PathBuf {
    workspace::target_dir().join("vm")
}

/// The raw rows of one kernel.
fn raw(folder: &Path, name: &str) -> PathBuf {
    folder.join("rows").join(format!("{}.jsonl", name.replace(' ', "-")))
}

fn build_programs() -> Result<()> {
    say("building the programs of the run");
    // As `test` does, so that nothing is built twice.
    run(workspace::cargo("build").args(test::FEATURES))
}

/// The first file system of every machine.
fn archive(folder: &Path, smoke: bool) -> Result<PathBuf> {
    say("packing the file system of the machines");
    let mut tree = Tree::new(&folder.join("tree"))?;
    let guest = workspace::executable(PROGRAMS[0], false);
    let mut needs = Command::new(&guest);
    needs.arg("needs").args(smoke.then_some("--smoke")).stdin(Stdio::null());
    for path in text(needs.env("CARGO_TARGET_DIR", workspace::target_dir()))?.lines() {
        tree.add(Path::new(path))?;
    }
    for program in PROGRAMS {
        let path = workspace::executable(program, false);
        tree.put_stripped(&path, &path)?;
    }
    tree.add(&initramfs::name_service()?)?;
    tree.script("/init", &init(&guest, smoke))?;
    let archive = folder.join(if smoke { "smoke.cpio" } else { "full.cpio" });
    tree.pack(&archive)?;
    Ok(archive)
}

/// The first program of a machine: mounts what a system has, runs the guest, ends the machine.
fn init(guest: &Path, smoke: bool) -> String {
    let target = workspace::target_dir();
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin HOME=/root LANG=C.UTF-8\n\
         export CARGO_TARGET_DIR={target} KEYWITNESS_PATIENCE={PATIENCE}\n\
         mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev\n\
         mount -t cgroup2 none /sys/fs/cgroup; mount -t bpf none /sys/fs/bpf\n\
         mount -t tracefs none /sys/kernel/tracing; mount -t securityfs none /sys/kernel/security\n\
         ip link set lo up\n\
         stty -F /dev/ttyS1 raw\n\
         {guest} run {smoke} >/dev/ttyS1\n\
         echo \"the guest ended with $?\"\n\
         poweroff -f\n",
        target = target.display(),
        guest = guest.display(),
        smoke = if smoke { "--smoke" } else { "" },
    )
}

fn boot(kernel: &Kernel, folder: &Path, archive: &Path, interrupt: &Interrupt, smoke: bool) -> Result<Rows> {
    let image = kernel.fetch(folder)?;
    say(format_args!("booting {} ({})", kernel.name, image.release()));
    let machine = Machine {
        kernel: &image.kernel,
        initramfs: archive,
        disk: None,
        folder: &folder.join("machines").join(&kernel.name),
        limit: LIMITS[usize::from(!smoke)],
    };
    let report = machine.run(interrupt)?;
    let rows = Rows::read(&report).with_context(|| {
        format!("the machine reported nothing; its console:\n{}", qemu::tail(&machine.console()))
    })?;
    if !smoke {
        keep(&report, &raw(folder, &kernel.name))?;
    }
    Ok(rows)
}

/// The same run on the running kernel.
fn host(folder: &Path) -> Result<Rows> {
    say("running on this host");
    mounts::add_missing()?;
    let report = folder.join("machines/host.jsonl");
    let out = File::create(&report).with_context(|| format!("cannot create {}", report.display()))?;
    let mut guest = Command::new(workspace::executable(PROGRAMS[0], false));
    guest.arg("run").env("CARGO_TARGET_DIR", workspace::target_dir());
    run(guest.stdin(Stdio::null()).stdout(out))?;
    keep(&report, &raw(folder, HOST))?;
    Rows::read(&report)
}

fn keep(report: &Path, raw: &Path) -> Result<()> {
    if let Some(folder) = raw.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(report, raw).with_context(|| format!("cannot keep {}", raw.display()))?;
    Ok(())
}
