//! The sensor's commands.

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};

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

/// The fingerprint of each of `keys` by the sensor's own command, under the fleet key in `state`.
pub fn fingerprints<'a>(
    state: &Path,
    keys: impl IntoIterator<Item = &'a String>,
) -> Result<HashMap<String, String>> {
    let keys: Vec<&String> = keys.into_iter().collect();
    let mut child = command("fingerprint", state)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    // A line comes back for each: it must be taken before the pipe is full.
    let lines = keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow!("the writing thread failed"))??;
    let text = String::from_utf8(output.stdout)?;
    let found: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with("kw1-")).collect();
    ensure!(
        found.len() == keys.len(),
        "keywitness fingerprint ended with {}: {} fingerprints of {} keys",
        output.status,
        found.len(),
        keys.len()
    );
    Ok(keys.into_iter().cloned().zip(found.into_iter().map(str::to_owned)).collect())
}

/// The fingerprint of one key.
pub fn fingerprint(state: &Path, key: &str) -> Result<String> {
    let key = key.to_owned();
    fingerprints(state, [&key])?.remove(&key).context("no fingerprint")
}
