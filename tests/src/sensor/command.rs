//! The sensor's commands.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::paths;

/// A sensor command with `state` as its state folder.
pub fn command(verb: &str, state: &Path) -> Result<Command> {
    let mut command = Command::new(paths::keywitness()?);
    command.arg(verb).arg("--state-dir").arg(state).env_remove("RUST_LOG");
    Ok(command)
}

/// Waits until no other test runs a sensor; the file is the right to run one.
pub fn alone() -> Result<File> {
    let path: PathBuf = std::env::temp_dir().join("keywitness-tests.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock()?;
    Ok(file)
}

/// The fingerprint of `key` by the sensor's own command, under the fleet key in `state`.
pub fn fingerprint(state: &Path, key: &str) -> Result<String> {
    let mut child = command("fingerprint", state)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "{key}")?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let found = text.split_whitespace().find(|word| word.starts_with("kw1-"));
    found
        .map(str::to_owned)
        .with_context(|| format!("keywitness fingerprint ended with {} and no fingerprint", output.status))
}
