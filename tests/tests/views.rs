//! Looking at records: live, from the socket of a running sensor, and from a recording of events.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    client::{Client, Runtime},
    paths::{self, Scratch},
    sandbox::{Network, Sandbox},
    sensor::{self, Sensor, calls},
    server::Server,
    wait,
};
use proto::v1::Record;
use rustix::process::{Pid, Signal, kill_process};

const SEEN: Duration = Duration::from_secs(20);

fn call(sandbox: &Sandbox, model: &str) -> Result<String> {
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    let key = client.key(model);
    client.run(sandbox, None, &key, model)?;
    Ok(key)
}

#[test]
fn a_follower_sees_what_it_asked_for_and_nothing_else() -> Result<()> {
    let sandbox = Sandbox::new(Network::Private)?;
    let _server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let state = sensor.dir().join("state");
    let mut follower = sensor::command("observe", &state)?
        .args([
            "--follow",
            "-o",
            "json",
            "--kind",
            "model_call",
            "--model",
            "wanted",
            "--not",
            "--model",
            "wanted-not",
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(follower.stdout.take().context("no output")?).lines();
    // Whoever follows is known to the sensor before it sees the calls: the last one ends the wait.
    wait::until("the follower to be connected", SEEN, || {
        let text = std::fs::read_to_string("/proc/net/unix")?;
        let path = state.join("keywitness.sock").display().to_string();
        Ok((text.lines().filter(|line| line.ends_with(&path)).count() >= 2).then_some(()))
    })?;
    for model in ["other", "wanted-not", "wanted-1"] {
        call(&sandbox, model)?;
    }
    sensor.wait_for("the calls", SEEN, |records| calls(records).count() >= 3)?;
    let record: Record = serde_json::from_str(&lines.next().context("no record")??)?;
    ensure!(record.model_call().is_some_and(|call| call.model_requested == "wanted-1"), "{record:?}");
    // The log has all of them within its commit interval, while it is written.
    wait::until("the calls in the log", SEEN, || {
        let output =
            sensor::command("observe", &state)?.args(["-o", "json", "--kind", "model_call"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok((output.status.success() && text.lines().count() == 3).then_some(()))
    })?;
    sensor.stop()?;
    // The sensor's end is the follower's.
    ensure!(lines.next().is_none(), "more than was asked for");
    ensure!(follower.wait()?.success(), "the follower failed");
    Ok(())
}

#[test]
fn recorded_events_replay_without_privileges_and_hold_no_secret() -> Result<()> {
    let sandbox = Sandbox::new(Network::Private)?;
    let _server = Server::start(&sandbox)?;
    let _alone = sensor::alone()?;
    let scratch = Scratch::new("recording")?;
    let file = scratch.path().join("events.zst");
    let mut child = sensor::command("record", &scratch.path().join("state"))?
        .args(["-o", "json"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut told: Vec<Record> = vec![serde_json::from_str(&lines.next().context("no status")??)?];
    let key = call(&sandbox, "recorded")?;
    while calls(&told).next().is_none() {
        told.push(serde_json::from_str(&lines.next().context("no call")??)?);
    }
    kill_process(Pid::from_child(&child), Signal::INT)?;
    for line in lines {
        told.push(serde_json::from_str(&line?)?);
    }
    ensure!(child.wait()?.success(), "the sensor failed");

    let replayed = Command::new(paths::keywitness()?).arg("replay").arg("--events").arg(&file).output()?;
    ensure!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let text = String::from_utf8(replayed.stdout)?;
    let again: Vec<Record> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let bodies = |records: &[Record]| {
        let kept = records.iter().filter(|record| record.kind != "status");
        kept.map(|record| (record.time, record.body.clone())).collect::<Vec<_>>()
    };
    assert_eq!(bodies(&again), bodies(&told));

    let mut raw = Vec::new();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(std::fs::File::open(&file)?)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    std::io::Read::read_to_end(&mut decoder, &mut raw)?;
    let raw = String::from_utf8(raw)?;
    ensure!(raw.contains("recorded"), "the call is not in the recording");
    ensure!(!raw.contains(&key), "the key is in the recording");
    Ok(())
}
