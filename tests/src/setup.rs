//! Installs the real clients below `target/clients`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::paths;

mod agents;
mod matrix;

pub use agents::{AGENTS, Agent, MORE_AGENTS, agent, agents};
pub use matrix::matrix;

/// Debian packages the end-to-end tests and benchmarks need.
pub const PACKAGES: [&str; 18] = [
    "bpftool",
    "busybox-static",
    "containerd",
    "curl",
    "docker.io",
    "gdb",
    "golang-go",
    "iproute2",
    "jq",
    "nginx-light",
    "nodejs",
    "npm",
    "python3-venv",
    "runc",
    "util-linux",
    "wget",
    "wrk",
    "zstd",
];
/// Runtimes with a TLS library of their own: BoringSSL, rustls.
const RUNTIMES: [&str; 2] = ["@oven/bun-linux-x64-baseline@1.4.5", "@deno/linux-x64-glibc@2.9.6"];

/// Where Python and Node clients are installed.
pub fn folder() -> PathBuf {
    paths::target().join("clients")
}

/// The virtual environment's interpreter.
pub fn python() -> PathBuf {
    folder().join("venv/bin/python")
}

/// The interpreter that has clients of only the whole matrix.
pub fn more_python() -> PathBuf {
    folder().join("more/bin/python")
}

/// The module with the TLS library of the Python program `python`, in `package` below its packages.
pub fn python_module(python: &Path, package: &str) -> Result<PathBuf> {
    let environment = python.ancestors().nth(2).unwrap_or(python);
    let versions = std::fs::read_dir(environment.join("lib"))?.flatten();
    let modules =
        versions.flat_map(|version| std::fs::read_dir(version.path().join("site-packages").join(package)));
    let mut files = modules.flatten().flatten().map(|entry| entry.path());
    let is_module = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "so");
    files
        .find(is_module)
        .with_context(|| format!("{package} is not installed: run `cargo xtask setup --tests`"))
}

/// Installs the pinned Python and Node clients unless they are there already.
pub fn clients() -> Result<()> {
    python_clients()?;
    let (from, to) = (paths::repository().join("tests/clients"), folder());
    let _lock = lock(&to)?;
    let files = [from.join("package.json"), from.join("package-lock.json")];
    step(&to.join("node.stamp"), &files, "Node clients", || {
        for file in &files {
            std::fs::copy(file, to.join(file.file_name().unwrap_or_default()))?;
        }
        run(Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&to))
    })
}

/// Installs the pinned Python packages unless they are there already.
pub fn python_clients() -> Result<()> {
    packages("requirements.txt", "python.stamp", "venv", "Python clients")
}

/// Installs schemathesis, which holds an HTTP interface against its description, unless it is there already; its
/// program.
pub fn schemathesis() -> Result<PathBuf> {
    packages("schemathesis.txt", "schemathesis.stamp", "schemathesis", "schemathesis")?;
    Ok(folder().join("schemathesis/bin/schemathesis"))
}

/// Installs aioquic unless it is there already; the interpreter that has it.
pub fn quic_python() -> Result<PathBuf> {
    packages("quic.txt", "quic.stamp", "quic", "aioquic")?;
    Ok(folder().join("quic/bin/python"))
}

/// A list of pinned Python packages.
fn list(name: &str) -> PathBuf {
    paths::repository().join("tests/clients").join(name)
}

/// The pinned Python packages of a list in an environment of their own.
fn packages(list: &str, stamp: &str, environment: &str, what: &str) -> Result<()> {
    let (list, to) = (self::list(list), folder());
    let _lock = lock(&to)?;
    step(&to.join(stamp), std::slice::from_ref(&list), what, || {
        let venv = to.join(environment);
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]).arg(&list))
    })
}

/// Tests run side by side; the first installs, the others wait.
fn lock(folder: &Path) -> Result<std::fs::File> {
    std::fs::create_dir_all(folder)?;
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Where programs with a TLS library of their own are.
pub fn stacks_folder() -> PathBuf {
    folder().join("stacks")
}

/// Bun's executable.
pub fn bun() -> PathBuf {
    stacks_folder().join("node_modules/@oven/bun-linux-x64-baseline/bin/bun")
}

/// Deno's executable.
pub fn deno() -> PathBuf {
    stacks_folder().join("node_modules/@deno/linux-x64-glibc/deno")
}

/// The compiled Go client.
pub fn go_call() -> PathBuf {
    stacks_folder().join("go_call")
}

/// A compiled client with rustls, by the name of its program.
pub fn rustls_call(name: &str) -> PathBuf {
    stacks_folder().join("rust/release").join(name)
}

/// Installs the clients whose TLS library is inside a stripped executable, unless they are there already.
pub fn stacks() -> Result<()> {
    let to = stacks_folder();
    let _lock = lock(&to)?;
    let source = paths::repository().join("tests/clients/go_call.go");
    let this = paths::repository().join("tests/src/setup.rs");
    step(&to.join("runtimes.stamp"), &[this], "Bun and Deno", || npm_install(&to, &RUNTIMES))?;
    step(&to.join("go.stamp"), std::slice::from_ref(&source), "the Go client", || {
        let mut go = Command::new("go");
        // Without symbols, as released programs are.
        go.args(["build", "-ldflags", "-s -w", "-o"]).arg(go_call()).arg(&source);
        run(go.env("GOCACHE", to.join("go-cache")).env("GO111MODULE", "off"))
    })?;
    let from = paths::repository().join("tests/clients/rust");
    let files = ["Cargo.toml", "Cargo.lock", "src/lib.rs", "src/bin/aws_lc_call.rs", "src/bin/ring_call.rs"];
    step(&to.join("rust.stamp"), &files.map(|file| from.join(file)), "the rustls clients", || {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
        run(cargo.arg(from.join("Cargo.toml")).arg("--target-dir").arg(to.join("rust")))
    })
}

/// Installs packages of npm below a folder of their own; none of them needs its scripts.
fn npm_install(to: &Path, packages: &[&str]) -> Result<()> {
    std::fs::write(to.join("package.json"), "{ \"private\": true }\n")?;
    let mut npm = Command::new("npm");
    let options = ["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"];
    run(npm.args(options).args(packages).current_dir(to))
}

/// Runs `work` unless `stamp` holds the hash of `files`.
fn step(stamp: &Path, files: &[PathBuf], what: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if std::fs::read_to_string(stamp).is_ok_and(|found| found == hash) {
        return Ok(());
    }
    eprintln!("installing {what} (once) ...");
    work().with_context(|| format!("cannot install {what}; `cargo xtask setup` installs what this needs"))?;
    Ok(std::fs::write(stamp, hash)?)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(())
}
