//! Raw keys, prompts and completions are nowhere in what the sensor writes or holds.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use keywitness_tests::{
    client::{Client, PROMPT, Runtime},
    keys, paths,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::{COMPLETION, Server},
    setup,
};

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

#[test]
fn no_key_prompt_or_completion_is_in_output_files_or_core() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let mut secrets = vec![PROMPT.to_owned(), COMPLETION.to_owned()];
    for (runtime, script, mode, provider) in [
        (Runtime::Curl, "curl_call.sh", "chat", "openai"),
        (Runtime::Curl, "curl_call.sh", "gzip-stream", "openai"),
        (Runtime::Curl, "curl_call.sh", "gemini-query", "gcp.gemini"),
        (Runtime::Python, "openai_call.py", "async-stream", "openai"),
        (Runtime::Python, "anthropic_call.py", "stream", "anthropic"),
        (Runtime::Node, "openai_call.js", "stream", "openai"),
        (Runtime::Curl, "curl_call.sh", "unrelated", "openai"),
    ] {
        let client = Client { runtime, script, mode, provider };
        let key = client.key(&format!("canary {}", client.name()));
        client.run(&sandbox, None, &key, "canary")?;
        secrets.push(key);
    }
    let responder = keys::openai("canary fingerprint");
    sensor.fingerprints([&responder])?;
    secrets.push(responder);
    let expected = server.truth()?.len() - 1;
    let complete =
        |records: &[_]| calls(records).filter(|call| call.model_requested == "canary").count() >= expected;
    sensor.wait_for("a record of every call", SETTLE, complete)?;

    let core = sensor.dir().join("core");
    let pid = sensor.pid().to_string();
    let dump = Command::new(paths::on_path("gcore")?).arg("-o").arg(&core).arg(&pid).output()?;
    ensure!(dump.status.success(), "gcore failed: {}", String::from_utf8_lossy(&dump.stderr));
    let stopped = sensor.stop()?;
    let mut found = Vec::new();
    let mut bytes = 0;
    scan(stopped.scratch.path(), &secrets, &mut found, &mut bytes)?;
    ensure!(bytes > 1 << 20, "only {bytes} bytes to search: the core dump is missing");
    ensure!(found.is_empty(), "secrets found:\n{}", found.join("\n"));
    Ok(())
}

/// Looks for the body of every secret in all files below `folder`.
fn scan(folder: &Path, secrets: &[String], found: &mut Vec<String>, bytes: &mut usize) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            scan(&path, secrets, found, bytes)?;
            continue;
        }
        let data = content(&path)?;
        *bytes += data.len();
        for secret in secrets {
            // The end of a key may be shown as a hint; the 16 bytes before that may not.
            let end = secret.len().saturating_sub(4);
            let part = &secret.as_bytes()[end.saturating_sub(16)..end];
            let hits = positions(&data, part);
            if let Some(first) = hits.first() {
                let around = &data[first.saturating_sub(60)..(first + 80).min(data.len())];
                let around = String::from_utf8_lossy(around).escape_debug().to_string();
                found.push(format!("{}: {} times {secret:.12}...: {around}", path.display(), hits.len()));
            }
        }
    }
    Ok(())
}

fn positions(data: &[u8], part: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(data, part).collect()
}

/// Content of a file; of a compressed one what is in it.
fn content(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "zst") {
        return Ok(std::fs::read(path)?);
    }
    let unpacked = Command::new(paths::on_path("zstdcat")?).arg(path).output()?;
    ensure!(unpacked.status.success(), "zstdcat: {}", String::from_utf8_lossy(&unpacked.stderr));
    Ok(unpacked.stdout)
}

#[test]
fn the_scan_finds_what_is_there() -> Result<()> {
    let scratch = paths::Scratch::new("scan")?;
    let key = keys::openai("planted");
    std::fs::write(scratch.path().join("file"), format!("xx{key}yy"))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    scan(scratch.path(), &[key, keys::openai("absent")], &mut found, &mut bytes)?;
    assert_eq!(found.len(), 1);
    Ok(())
}
