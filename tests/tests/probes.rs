//! Probes follow what becomes of a file: replaced in place, copied up by an overlay.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use keywitness_tests::{
    keys,
    paths::{self, Scratch},
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
    wait,
};
use proto::v1::Record;

/// Time probes and records have to follow.
const SOON: Duration = Duration::from_secs(40);

/// Calls until one is told; the first one of a file that nobody had mapped comes too early.
const TRIES: usize = 5;
/// Time a record has to arrive after its call.
const RECORD: Duration = Duration::from_secs(5);
const PYTHON: &str = "/usr/bin/python3";

/// The OpenSSL that the system's Python has.
fn library() -> Result<PathBuf> {
    let output = Command::new(PYTHON)
        .args(["-c", "import _ssl; print(*[line.split()[-1] for line in open('/proc/self/maps') if 'libssl' in line][:1])"])
        .output()?;
    let path = String::from_utf8(output.stdout)?;
    Path::new(path.trim()).canonicalize().context("the system's Python has no libssl")
}

/// A process with a libssl of its own that calls when it is told to.
struct Caller {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Caller {
    fn start(sandbox: &Sandbox, folder: &Path) -> Result<Self> {
        let mut command = sandbox.command(PYTHON);
        command.arg(paths::repository().join("tests/clients/calls.py")).arg(keys::openai("probes"));
        command.env("LD_LIBRARY_PATH", folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut caller = Self { child, output };
        caller.line()?;
        Ok(caller)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Calls until a call is told, and which one it was.
    fn until_told(&mut self, sensor: &mut Sensor, name: &str) -> Result<usize> {
        for number in 0..TRIES {
            let model = format!("{name}-{number}");
            writeln!(self.child.stdin.as_mut().context("no input")?, "{model}")?;
            let status = self.line()?;
            ensure!(status == "200", "answered {status}");
            let told = |records: &[Record]| calls(records).any(|call| call.model_requested == model);
            if sensor.wait_for(&format!("the call {model}"), RECORD, told).is_ok() {
                return Ok(number);
            }
        }
        bail!("none of {TRIES} calls {name} was told")
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn log(sensor: &Sensor) -> Result<String> {
    Ok(std::fs::read_to_string(sensor.dir().join("stderr.log"))?)
}

/// Waits until the sensor's log has `count` lines with all of `words`.
fn logged(sensor: &Sensor, count: usize, words: &[&str]) -> Result<()> {
    wait::until(&format!("{count} lines with {words:?}"), SOON, || {
        let lines = log(sensor)?;
        let lines = lines.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
        Ok((lines >= count).then_some(()))
    })
}

#[test]
fn a_library_that_is_replaced_in_place_loses_its_probes_and_gets_new_ones() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let scratch = Scratch::new("replaced")?;
    let own = scratch.path().join("libssl.so.3");
    let original = std::fs::read(library()?)?;
    std::fs::write(&own, &original)?;
    let mut sensor = Sensor::start(&[])?;
    Caller::start(&sandbox, scratch.path())?.until_told(&mut sensor, "before")?;
    let name = own.display().to_string();
    logged(&sensor, 1, &[&name, "TLS library probed"])?;

    // The same inode with other contents, which are a library again.
    let other = [original.as_slice(), b"another version"].concat();
    std::fs::write(&own, &other)?;
    logged(&sensor, 1, &[&name, "replaced in place"])?;
    logged(&sensor, 2, &[&name, "TLS library probed"])?;
    let number = Caller::start(&sandbox, scratch.path())?.until_told(&mut sensor, "after")?;
    ensure!(number == 0, "the first call after that was not read");
    // Nothing of a breakpoint is in the file.
    ensure!(std::fs::read(&own)? == other, "the file was changed");

    // Deleted, it would keep its space on the disk as long as it is probed.
    std::fs::remove_file(&own)?;
    logged(&sensor, 1, &[&name, "no process has the file any more"])?;
    wait::until("the sensor to let go of the file", SOON, || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", sensor.pid()))?.flatten();
        let held = open
            .flat_map(|entry| std::fs::read_link(entry.path()))
            .any(|path| path.starts_with(scratch.path()));
        Ok((!held).then_some(()))
    })?;
    let status = sensor.stop()?;
    ensure!(status.status.success(), "the sensor ended with {}", status.status);
    Ok(())
}

#[test]
fn probes_lost_to_an_overlay_that_copies_a_library_up_are_noticed_and_given_again() -> Result<()> {
    let scratch = Scratch::new("overlay")?;
    let folder = |name: &str| -> Result<PathBuf> {
        let path = scratch.path().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let base = folder("base")?;
    // Overlays need a file system with extended attributes below them.
    let mounted = Mount::new(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&base), &base)?;
    let [lower, upper, work, merged] = ["base/lower", "base/upper", "base/work", "merged"].map(folder);
    let (lower, upper, work, merged) = (lower?, upper?, work?, merged?);
    std::fs::copy(library()?, lower.join("libssl.so.3"))?;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let overlay = Mount::new(
        Command::new("mount").args(["-t", "overlay", "none", "-o", &options]).arg(&merged),
        &merged,
    )?;

    // Its namespace has the mounts that were there before it.
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    Caller::start(&sandbox, &merged)?.until_told(&mut sensor, "lower")?;
    // Same size, time and number, yet another inode below.
    let changed = Command::new("chmod").args(["0700"]).arg(merged.join("libssl.so.3")).status()?;
    ensure!(changed.success() && upper.join("libssl.so.3").is_file(), "the library was not copied up");
    // One call finds it out, the next is read.
    let number = Caller::start(&sandbox, &merged)?.until_told(&mut sensor, "upper")?;
    eprintln!("after it was copied up, call {number} was the first to be read");
    logged(&sensor, 1, &["TLS probes were lost"])?;
    let stopped = sensor.stop()?;
    ensure!(stopped.status.success(), "the sensor ended with {}", stopped.status);
    let skipped = &stopped.last_status()?.skipped;
    ensure!(
        skipped.iter().any(|one| one.kind == "probe" && one.cause == "lost_and_given_again"),
        "{skipped:?}"
    );
    drop((overlay, mounted));
    Ok(())
}

/// A mount, undone when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(command: &mut Command, at: &Path) -> Result<Self> {
        let output = command.output()?;
        ensure!(output.status.success(), "mount: {}", String::from_utf8_lossy(&output.stderr));
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Processes of the test may still hold it.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
