//! A collector as a child process, with certificates for some hosts.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use proto::v1::Record;

use crate::paths::{self, Scratch};

/// The collector this workspace built.
pub fn program() -> Result<PathBuf> {
    paths::binary("keywitness-collector")
}

/// A running collector; killed on drop.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    scratch: Scratch,
    sensors: String,
    questions: String,
}

impl Collector {
    /// Starts one that knows `hosts`, on ports that are free.
    pub fn start(hosts: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("collector")?;
        let mut init = Command::new(program()?);
        init.args(["init", "--name", "localhost", "--name", "127.0.0.1", "--dir"]).arg(scratch.path());
        for host in hosts {
            init.args(["--sensor", host]);
        }
        let made = init.output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new(program()?);
        command.args(["--listen", "127.0.0.1:0", "--query", "127.0.0.1:0", "--dir"]).arg(scratch.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut told = BufReader::new(child.stdout.take().context("no output")?);
        let mut collector = Self { child, scratch, sensors: String::new(), questions: String::new() };
        collector.sensors = address(&mut told, "sensors: ")?;
        collector.questions = address(&mut told, "questions: ")?;
        Ok(collector)
    }

    /// Where questions are asked, as a URL.
    pub fn questions(&self) -> &str {
        &self.questions
    }

    /// The token that reads everything.
    pub fn token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.scratch.path().join("reader.token"))?.trim().to_owned())
    }

    /// Certificate of the authority.
    pub fn ca(&self) -> PathBuf {
        self.scratch.path().join("pki/ca.pem")
    }

    /// Configuration of the sensor of `host`.
    pub fn sensor_config(&self, host: &str) -> String {
        let file =
            |name: &str| self.scratch.path().join("sensors").join(host).join(name).display().to_string();
        format!(
            "[collector]\nendpoints = [\"{}\"]\nca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
            self.sensors,
            file("ca.pem"),
            file("sensor.pem"),
            file("sensor.key")
        )
    }

    /// Records that `keywitness observe --server` shows with these filters.
    pub fn observe(&self, filters: &[&str]) -> Result<Vec<Record>> {
        let mut command = Command::new(paths::keywitness()?);
        command.args(["observe", "-o", "json", "--server", &self.questions, "--ca"]).arg(self.ca());
        command.arg("--token-file").arg(self.scratch.path().join("reader.token")).args(filters);
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The next line's address, behind `name`.
fn address(told: &mut BufReader<ChildStdout>, name: &str) -> Result<String> {
    let mut line = String::new();
    told.read_line(&mut line)?;
    let address = line.trim().strip_prefix(name);
    address.map(str::to_owned).with_context(|| format!("the collector says `{}`", line.trim()))
}

/// A folder of credentials with a fleet key for all sensors of a test.
pub fn fleet_key(scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join("credentials");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("fleet.key");
    std::fs::write(&path, format!("kwfk1-{}\n", "5".repeat(64)))?;
    let mut only_owner = std::fs::metadata(&path)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut only_owner, 0o600);
    std::fs::set_permissions(&path, only_owner)?;
    Ok(folder)
}
