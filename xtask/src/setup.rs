//! `setup`: installs what a fresh Debian machine lacks, and says what it found.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::shell::{self, find, is_root, run, say};
use crate::toolchain::{self, DEBIAN_CLIPPY, LINKER_VERSION, Toolchain};
use crate::workspace;

/// Debian's compiler with `core` for BPF, and the clippy that fits it.
const COMPILER_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "rust-web-clippy"];
/// Programs of the benchmarks, each with its package.
const BENCH_TOOLS: [(&str, &str); 6] = [
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
    ("openssl", "openssl"),
    ("bpftrace", "bpftrace"),
    ("tcplife", "libbpf-tools"),
    ("taskset", "util-linux"),
];
/// Programs of the end-to-end tests, each with its package.
const TEST_TOOLS: [(&str, &str); 19] = [
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("gdb", "gdb"),
    ("bpftool", "bpftool"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("dockerd", "docker.io"),
    ("runc", "runc"),
    ("zstdcat", "zstd"),
    ("jq", "jq"),
    ("go", "golang-go"),
    ("wget", "wget"),
];

/// Programs that make a whole system for a test machine, each with its package.
const SYSTEM_TOOLS: [(&str, &str); 3] =
    [("debootstrap", "debootstrap"), ("mke2fs", "e2fsprogs"), ("depmod", "kmod")];

/// Further programs of `matrix`, each with its package.
const MATRIX_TOOLS: [(&str, &str); 5] = [
    ("git", "git"),
    ("java", "default-jdk-headless"),
    ("javac", "default-jdk-headless"),
    ("pkg-config", "pkg-config"),
    // A library has no program; its header tells.
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
];

/// What to set up.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Also the programs that `bench` measures with
    #[arg(long)]
    pub(crate) bench: bool,
    /// Also the programs and clients of the end-to-end tests
    #[arg(long)]
    pub(crate) tests: bool,
    /// Also the programs that `vm --system` makes a system with
    #[arg(long)]
    pub(crate) system: bool,
    /// Also the further programs of `matrix`
    #[arg(long)]
    pub(crate) matrix: bool,
    /// Only say what is missing, and fail if something is
    #[arg(long)]
    pub(crate) check: bool,
}

/// What is missing on this machine.
#[derive(Debug, Default, PartialEq)]
struct Missing {
    compiler: bool,
    linker: bool,
    packages: Vec<&'static str>,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.check {
        let missing = look(args, true)?;
        if missing != Missing::default() {
            bail!("something is missing: {}", missing.hint());
        }
        say("nothing is missing");
        return Ok(());
    }
    install(look(args, true)?)?;
    if args.tests {
        say("setting up the clients of the tests");
        run(workspace::cargo("run").args(["--package", "keywitness-tests", "--bin", "setup-clients"]))?;
    }
    say("ready");
    Ok(())
}

/// Installs what is missing (all but the tests' clients); says something only when there is something to do.
pub(crate) fn ensure(args: &Args) -> Result<()> {
    install(look(args, false)?)
}

impl Missing {
    fn hint(&self) -> String {
        let mut parts = Vec::new();
        if self.compiler {
            parts.push(format!("a Rust compiler for BPF ({})", COMPILER_PACKAGES.join(", ")));
        }
        if self.linker {
            parts.push(format!("bpf-linker {LINKER_VERSION}"));
        }
        parts.extend(self.packages.iter().map(|package| format!("package {package}")));
        parts.join("; ")
    }
}

fn look(args: &Args, tell: bool) -> Result<Missing> {
    let found = |what: &str| {
        if tell {
            say(format_args!("found {what}"));
        }
    };
    let mut missing = Missing::default();
    match Toolchain::detect()? {
        Some(toolchain) => found(&toolchain.to_string()),
        None => missing.compiler = true,
    }
    match toolchain::linker()? {
        Some((path, version)) if version == LINKER_VERSION => {
            found(&format!("bpf-linker {version} at {}", path.display()))
        }
        Some((path, version)) => {
            say(format_args!("{} is version {version}, {LINKER_VERSION} is needed", path.display()));
            missing.linker = true;
        }
        None => missing.linker = true,
    }
    let bench = BENCH_TOOLS.iter().filter(|_| args.bench);
    let tests = TEST_TOOLS.iter().filter(|_| args.tests);
    let system = SYSTEM_TOOLS.iter().filter(|_| args.system);
    let matrix = MATRIX_TOOLS.iter().filter(|_| args.matrix);
    for (program, package) in bench.chain(tests).chain(system).chain(matrix) {
        match path_of(program, package) {
            Some(path) => found(&format!("{program} at {}", path.display())),
            None if missing.packages.contains(package) => {}
            None => missing.packages.push(package),
        }
    }
    Ok(missing)
}

/// Where a tool is; Python counts only when it can make virtual environments.
fn path_of(program: &str, package: &str) -> Option<PathBuf> {
    let path = find(program)?;
    let whole = package != "python3-venv"
        || Command::new(&path)
            .args(["-c", "import venv, ensurepip"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    whole.then_some(path)
}

fn install(missing: Missing) -> Result<()> {
    if missing.compiler || !missing.packages.is_empty() {
        install_packages(&missing)?;
    }
    if missing.linker {
        install_linker()?;
    }
    Ok(())
}

fn install_packages(missing: &Missing) -> Result<()> {
    if !apt::is_here() {
        bail!(
            "this machine has no apt-get, so this has to be installed by hand: {}\n\
             the compiler also comes by `rustup toolchain install nightly --component rust-src`",
            missing.hint()
        );
    }
    if !is_root() {
        bail!(
            "packages are missing and only root can install them: {}\n\
             run `sudo env \"PATH=$PATH\" cargo xtask setup`",
            missing.hint()
        );
    }
    apt::update();
    if !missing.packages.is_empty() {
        apt::install(&missing.packages)?;
    }
    if !missing.compiler {
        return Ok(());
    }
    install_compiler()?;
    match Toolchain::detect()? {
        Some(toolchain) => say(format_args!("kernel programs are built with {toolchain}")),
        None => {
            bail!("no Rust compiler for BPF works after the installation: see `cargo xtask setup --check`")
        }
    }
    Ok(())
}

/// Debian's compiler; where it is not to be had or would push out another one, rustup's nightly.
fn install_compiler() -> Result<()> {
    // An older Debian has the compiler without what the BPF target needs.
    let why = if apt::has_candidate("libstd-rust-web-dev-bpf")? {
        match apt::install(&COMPILER_PACKAGES) {
            Ok(()) => return Ok(()),
            Err(error) => format!("Debian's Rust with core for BPF cannot be installed ({error:#})"),
        }
    } else {
        "this Debian has no Rust with core for BPF".to_owned()
    };
    if find("rustup").is_none() {
        bail!("{why}, and there is no rustup to take its place: install rustup, then run this again");
    }
    say(format_args!("{why}: installing rustup's nightly with rust-src"));
    run(Command::new("rustup")
        .args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"])
        .stdin(Stdio::null()))
}

fn install_linker() -> Result<()> {
    say(format_args!("building bpf-linker {LINKER_VERSION}, which takes about 90 seconds"));
    let mut cargo = workspace::cargo("install");
    cargo.args(["--locked", "--quiet", "--force", "bpf-linker", "--version", LINKER_VERSION]);
    // With the workspace's own target folder the build would stay there.
    run(cargo.env_remove("CARGO_TARGET_DIR").env_remove(workspace::OBJECT_VARIABLE).current_dir("/"))
        .context("bpf-linker could not be installed")
}

/// Makes sure that there is a clippy for the kernel side.
pub(crate) fn ensure_kernel_clippy(toolchain: Toolchain) -> Result<()> {
    let there = match toolchain {
        Toolchain::Debian => PathBuf::from(DEBIAN_CLIPPY).is_file(),
        Toolchain::Nightly => {
            shell::text(Command::new("rustup").args(["run", "nightly", "cargo-clippy", "-V"])).is_ok()
        }
    };
    match toolchain {
        _ if there => Ok(()),
        Toolchain::Debian if is_root() => {
            apt::update();
            apt::install(&["rust-web-clippy"])
        }
        Toolchain::Debian => {
            bail!("clippy for Debian's compiler is missing: `apt-get install rust-web-clippy` as root")
        }
        Toolchain::Nightly => {
            bail!("nightly has no clippy: run `rustup component add clippy --toolchain nightly`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_everything_that_is_missing() {
        let missing = Missing { compiler: true, linker: true, packages: vec!["wrk"] };
        let hint = missing.hint();
        for part in ["rustc-web", "bpf-linker 0.10.3", "package wrk"] {
            assert!(hint.contains(part), "{hint}");
        }
    }

    #[test]
    fn a_program_that_is_there_counts_as_installed_whatever_its_package() {
        assert!(path_of("sh", "some-other-package").is_some());
        assert_eq!(path_of("no-such-program-here", "x"), None);
    }

    #[test]
    fn nothing_to_install_needs_neither_root_nor_apt() {
        install(Missing::default()).unwrap();
    }
}
