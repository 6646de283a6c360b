//! A thousand curl processes, two hundred a second, ten keys in ten cgroups.

use std::{
    collections::HashMap,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    cgroup::Cgroup,
    client::Runtime,
    compare::{Known, Who, compare},
    keys, paths,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
};

const GROUPS: usize = 10;
const PROCESSES_EACH: usize = 100;
const RATE_EACH: u32 = 20;
/// Share of calls that may be missing, unbound or without a process.
const UNCERTAIN: f64 = 0.001;
/// Time for all processes; they start within 5 s and end when the processors have done them all.
const LIMIT: Duration = Duration::from_secs(20);
/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(30);

#[test]
fn a_thousand_short_lived_processes_are_each_known() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let (burst, curl) = (paths::binary("burst")?, Runtime::Curl.exe()?);
    let (count, rate) = (PROCESSES_EACH.to_string(), RATE_EACH.to_string());
    let start = Instant::now();
    let mut keys = Vec::new();
    let mut groups = Vec::new();
    for group in 0..GROUPS {
        let cgroup = Cgroup::new("short")?;
        let key = keys::openai(&format!("short-{group}"));
        let mut command = sandbox.command_in(&cgroup, &burst);
        command.args(["--count", &count, "--rate", &rate]).arg(&curl).args(["--", "--silent", "--fail"]);
        command.args(["-H", &format!("authorization: Bearer {key}")]);
        command.args(["-d", &format!(r#"{{"model":"short-{group}-{{}}","messages":[]}}"#)]);
        command.arg("https://api.openai.com/v1/chat/completions").stdout(Stdio::piped());
        groups.push((cgroup, command.spawn()?));
        keys.push(key);
    }
    let mut who = HashMap::new();
    let mut cgroups = Vec::new();
    for (group, (cgroup, child)) in groups.into_iter().enumerate() {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "burst {group} ended with {}", output.status);
        for line in String::from_utf8(output.stdout)?.lines() {
            let (index, pid) = line.split_once(' ').context("burst prints index and pid")?;
            let caller = Who { pid: pid.parse()?, exe: curl.clone(), cgroup: Some(cgroup.name()) };
            who.insert(format!("short-{group}-{index}"), caller);
        }
        cgroups.push(cgroup);
    }
    let elapsed = start.elapsed();
    let truths = server.truth()?;
    ensure!(truths.len() == GROUPS * PROCESSES_EACH, "the endpoint saw {} requests", truths.len());
    ensure!(elapsed < LIMIT, "the machine is too busy for this test: the processes took {elapsed:?}");

    let complete = |records: &[_]| {
        calls(records).filter(|call| who.contains_key(&call.model_requested)).count() >= truths.len()
    };
    if let Err(error) = sensor.wait_for("a record of every call", SETTLE, complete) {
        eprintln!("{error:#}");
    }
    let fingerprints = sensor.fingerprints(&keys)?;
    let stopped = sensor.stop()?;
    let known = Known { address: sandbox.address(), fingerprints: &fingerprints };
    let result =
        compare(&truths, &stopped.records, &known, |truth| who.get(truth.model.as_deref()?).cloned());
    eprintln!("{} in {elapsed:?}", result.summary());
    let status = stopped.last_status()?;
    let lost: u64 = status.lost.iter().map(|loss| loss.count).sum();
    eprintln!("produced {}, lost {:?}", status.produced, status.lost);
    ensure!(status.produced > 0, "nothing was produced");
    ensure!(
        status.produced == status.delivered + lost,
        "produced {} is not delivered {} + lost {lost}",
        status.produced,
        status.delivered
    );
    result.require(UNCERTAIN)
}
