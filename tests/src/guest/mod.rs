//! The end-to-end run on another kernel: what it needs, and what it reports.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::{client::Runtime, paths, setup};

mod guide;
mod package;
mod plan;
mod tier;

use tier::Outcome;

/// Programs that the sandbox and the client scripts start.
const PROGRAMS: [&str; 5] = ["curl", "wget", "unshare", "nsenter", "ip"];

/// One line of the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The running kernel.
    Kernel(Kernel),
    /// What `keywitness doctor --json` printed.
    Doctor(Value),
    /// What became of the calls in one tier.
    Tier(Outcome),
    /// What became of the package.
    Package(Step),
    /// What became of a test of the workspace.
    Test(Step),
    /// Everything ran.
    Done,
}

/// Something that was done, and what was seen of it.
#[derive(Debug, Serialize)]
struct Step {
    name: String,
    seen: Vec<String>,
    error: Option<String>,
}

/// What the kernel says of itself.
#[derive(Debug, Serialize)]
struct Kernel {
    release: String,
    /// Security modules in use; empty where securityfs is not mounted.
    security_modules: String,
    /// Mount points of cgroup v1 controllers; none means that cgroup v2 is all there is.
    cgroup1: usize,
}

/// Installs the clients of the run and gives the files and folders that a machine needs for them.
pub fn needs(smoke: bool) -> Result<Vec<PathBuf>> {
    setup::stacks()?;
    let mut needs = vec![paths::repository().join("tests/clients"), setup::go_call()];
    for program in PROGRAMS {
        needs.push(paths::on_path(program)?);
    }
    if !smoke {
        setup::clients()?;
        needs.extend([Runtime::Node.exe()?, setup::folder().join("node_modules")]);
    }
    Ok(needs)
}

/// Runs everything and writes a line for each result to `out`. A wrong result is a line, not an error.
pub fn run(smoke: bool, out: &mut impl Write) -> Result<()> {
    let mut tell = |line: &Line| tell(out, line);
    tell(&Line::Kernel(kernel()?))?;
    let doctor = doctor()?;
    let usable = doctor["state"] != "unusable";
    tell(&Line::Doctor(doctor))?;
    if usable {
        for tier in plan::tiers(smoke) {
            tell(&Line::Tier(tier.run()))?;
        }
    }
    tell(&Line::Done)
}

/// Runs what needs a system with systemd: the packages that were built in the folder `built` as docs/deploy.md there
/// says, the sensor's next version `new`, and the tests named `tests` of the test program `program`.
pub fn system(
    built: &Path,
    new: &Path,
    program: &Path,
    tests: &[String],
    out: &mut impl Write,
) -> Result<()> {
    let mut tell = |line: &Line| tell(out, line);
    tell(&Line::Kernel(kernel()?))?;
    tell(&Line::Package(step("package", package::run(built, new))))?;
    for name in tests {
        tell(&Line::Test(step(name, test(program, name))))?;
    }
    tell(&Line::Done)
}

fn tell(out: &mut impl Write, line: &Line) -> Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

fn step(name: &str, result: Result<Vec<String>>) -> Step {
    let (seen, error) = match result {
        Ok(seen) => (seen, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    Step { name: name.to_owned(), seen, error }
}

fn test(program: &Path, name: &str) -> Result<Vec<String>> {
    let output =
        Command::new(program).args(["--exact", name, "--nocapture"]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text.lines().filter(|line| line.starts_with("test ")).map(str::to_owned).collect())
}

fn kernel() -> Result<Kernel> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let mounts = read("/proc/self/mounts")?;
    Ok(Kernel {
        release: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        security_modules: read("/sys/kernel/security/lsm").unwrap_or_default(),
        cgroup1: mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup")).count(),
    })
}

fn doctor() -> Result<Value> {
    let mut command = Command::new(paths::keywitness()?);
    let output = command.args(["doctor", "--json"]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        !text.is_empty(),
        "keywitness doctor ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_str(&text)?)
}
