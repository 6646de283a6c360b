//! `test`: sets up, builds once, then every check and test; ends with one line.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::lint::{self, targets::Targets};
use crate::shell::{find, require_root, run, say};
use crate::stop::Interrupt;
use crate::{build, mounts, setup, vm, workspace};

/// The end-to-end tests; the same features in every call, so that nothing is built twice.
pub(crate) const FEATURES: [&str; 2] = ["--features", "keywitness-tests/e2e"];
/// nextest's name for the end-to-end tests.
const E2E: &str = "package(keywitness-tests) & kind(test)";
/// Tests beside the code that need root are ignored unless asked for: their package and target.
const ROOT: (&str, &str) = ("keywitness-collector", "fleet");

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this; leaves out format, clippy and source rules
    filter: Option<String>,
    /// Only the unit tests (no root needed)
    #[arg(long, conflicts_with = "e2e")]
    unit: bool,
    /// Only the end-to-end tests
    #[arg(long)]
    e2e: bool,
}

/// The steps done so far.
struct Summary {
    interrupt: Interrupt,
    passed: Vec<&'static str>,
    failed: Vec<&'static str>,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    let started = Instant::now();
    let mut summary = Summary::new(Interrupt::new()?);
    summary.step("build", || prepare(args));
    if summary.failed.is_empty() {
        steps(args, &mut summary);
    }
    println!("xtask test: {} in {} s", summary.text(), started.elapsed().as_secs());
    match summary.failed.is_empty() {
        true => Ok(()),
        false => bail!("tests failed"),
    }
}

fn prepare(args: &Args) -> Result<()> {
    if !args.unit {
        require_root("the end-to-end tests (`--unit` runs the others)")?;
        setup::ensure(&setup::Args { tests: true, ..setup::Args::default() })?;
        mounts::add_missing()?;
        if args.filter.is_none() {
            // Now, because packages are installed by one at a time.
            vm::ensure()?;
        }
        build::kernel()?;
    }
    say("building the user side");
    run(workspace::cargo("build").args(FEATURES))?;
    if !args.unit {
        say("setting up the clients of the tests");
        run(std::process::Command::new(workspace::executable("setup-clients", false))
            .stdin(std::process::Stdio::null()))?;
    }
    Ok(())
}

fn steps(args: &Args, summary: &mut Summary) {
    std::thread::scope(|scope| {
        // Beside the checks, which measure nothing, and not beside the end-to-end tests, which do.
        let interrupt = summary.interrupt.clone();
        let kernels =
            (!args.unit && args.filter.is_none()).then(|| scope.spawn(move || vm::smoke(&interrupt)));
        checks(args, summary);
        if let Some(kernels) = kernels {
            summary.step("kernels", || {
                kernels.join().unwrap_or_else(|_| bail!("the run of the machines failed"))
            });
        }
    });
    if !args.unit {
        summary.step("root", || root(args.filter.as_deref()));
        summary.step("e2e", || e2e(args.filter.as_deref()));
    }
}

/// What needs no root.
fn checks(args: &Args, summary: &mut Summary) {
    if args.e2e {
        return;
    }
    if args.filter.is_none() {
        summary.step("format", lint::format);
        summary.step("clippy", || lint::clippy(&FEATURES));
        summary.step("rules", lint::rules);
    }
    summary.step("unit", || unit(args.filter.as_deref()));
    if args.filter.is_none() {
        summary.step("doc", || run(workspace::cargo("test").args(FEATURES).args(["--quiet", "--doc"])));
    }
}

fn unit(filter: Option<&str>) -> Result<()> {
    say("unit, property and fuzz tests");
    if has_nextest() {
        return nextest(&format!("not ({E2E})"), filter);
    }
    let targets = Targets::read()?;
    let mut cargo = workspace::cargo("test");
    cargo.args(FEATURES).args(["--quiet", "--lib", "--bins"]);
    for name in targets.others() {
        cargo.args(["--test", name]);
    }
    run(cargo.args(filter))
}

fn e2e(filter: Option<&str>) -> Result<()> {
    say("end-to-end tests");
    if has_nextest() {
        return nextest(E2E, filter);
    }
    let targets = Targets::read()?;
    let mut cargo = workspace::cargo("test");
    cargo.args(FEATURES);
    for name in targets.e2e() {
        cargo.args(["--test", name]);
    }
    if targets.e2e().next().is_none() {
        bail!("keywitness-tests has no end-to-end tests");
    }
    // One at a time: they measure loss and share the machine's kernel.
    run(cargo.args(filter).args(["--", "--test-threads=1"]))
}

fn root(filter: Option<&str>) -> Result<()> {
    say("tests that need root");
    let (package, target) = ROOT;
    let mut cargo = workspace::cargo(if has_nextest() { "nextest" } else { "test" });
    if has_nextest() {
        let expression = format!("package({package}) & binary({target})");
        cargo.arg("run").args(FEATURES).args(["--run-ignored", "only", "--no-fail-fast", "-E", &expression]);
        return run(cargo.args(["--no-tests", "pass"]).args(filter));
    }
    run(cargo.args(FEATURES).args(["--test", target]).args(filter).args(["--", "--ignored"]))
}

fn nextest(expression: &str, filter: Option<&str>) -> Result<()> {
    let mut cargo = workspace::cargo("nextest");
    cargo.arg("run").args(FEATURES).args(["-E", expression]);
    // A filter may match tests of the other kind only.
    cargo.args(["--no-fail-fast", "--no-tests", if filter.is_some() { "pass" } else { "fail" }]);
    run(cargo.args(filter))
}

fn has_nextest() -> bool {
    find("cargo-nextest").is_some()
}

impl Summary {
    const fn new(interrupt: Interrupt) -> Self {
        Self { interrupt, passed: Vec::new(), failed: Vec::new() }
    }

    /// Does a step, unless somebody has interrupted the run.
    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) {
        match self.interrupt.check().and_then(|()| step()) {
            Ok(()) => self.passed.push(name),
            Err(error) => {
                say(format_args!("{name} FAILED: {error:#}"));
                self.failed.push(name);
            }
        }
    }

    fn text(&self) -> String {
        let passed = self.passed.join(", ");
        match self.failed.is_empty() {
            true => format!("PASSED ({passed})"),
            false if passed.is_empty() => format!("FAILED: {}", self.failed.join(", ")),
            false => format!("FAILED: {} (passed: {passed})", self.failed.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_what_failed_and_goes_on() {
        let mut summary = Summary::new(Interrupt::new().unwrap());
        summary.step("format", || Ok(()));
        assert_eq!(summary.text(), "PASSED (format)");
        summary.step("clippy", || bail!("broken"));
        summary.step("unit", || Ok(()));
        assert_eq!(summary.text(), "FAILED: clippy (passed: format, unit)");
    }
}
