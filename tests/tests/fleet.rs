//! Real sensors and a real collector: what only a fleet shows, and what those who ask the collector get.

use std::{
    collections::BTreeSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    collector::{self, Collector},
    container::Systemd,
    paths::{self, Scratch},
    sandbox::{Network, Sandbox},
    sensor::{self, Sensor, calls},
    server::Server,
    setup, wait,
};
use proto::v1::{Finding, Record};

/// Time in which a finding has to be told after the call that makes it one.
const PROMPT: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(60);
const UNIT: &str = "keywitness-collector.service";

/// A host of its own: network, part of the cgroup tree, sensor with a certificate.
struct Host {
    sandbox: Sandbox,
    service: Cgroup,
    sensor: Sensor,
    _part: Cgroup,
}

impl Host {
    fn start(collector: &Collector, name: &str, alone: std::fs::File, scratch: &Path) -> Result<Self> {
        let part = Cgroup::new(name)?;
        // The same unit on two hosts would be replicas of one service, which may share a key.
        let service = part.child(&format!("{name}-agent.service"))?;
        let config = scratch.join(format!("{name}.toml"));
        let own = format!("[identity]\nhost = \"{name}\"\n[kernel]\ncgroup = \"{}\"\n", part.name());
        std::fs::write(&config, own + &collector.sensor_config(name))?;
        let key = collector::fleet_key(scratch)?;
        let arguments = ["--config", &config.to_string_lossy()];
        let sensor = Sensor::start_with(alone, &arguments, Some(&key))?;
        Ok(Self { sandbox: Sandbox::new(Network::Private)?, service, sensor, _part: part })
    }
}

fn named(finding: &Finding) -> BTreeSet<&str> {
    finding.participants.iter().map(|one| one.host.as_str()).collect()
}

fn shared(records: &[Record]) -> Vec<&Finding> {
    let findings = records.iter().filter_map(Record::finding);
    findings.filter(|finding| finding.rule == "shared-credential").collect()
}

#[test]
fn one_key_on_two_hosts_is_one_finding_that_names_both_within_seconds() -> Result<()> {
    let names = ["web-1", "web-2"];
    let (scratch, alone) = (Scratch::new("fleet")?, sensor::alone()?);
    let collector = Collector::start(&names)?;
    let mut hosts = Vec::new();
    for name in names {
        hosts.push(Host::start(&collector, name, alone.try_clone()?, scratch.path())?);
    }
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    let key = client.key("fleet");
    let mut called = Instant::now();
    for (host, name) in hosts.iter().zip(names) {
        let _server = Server::start(&host.sandbox)?;
        called = Instant::now();
        client.run(&host.sandbox, Some(&host.service), &key, "gpt-5-mini")?;
        let calls = || collector.observe(&["--kind", "model_call", "--host", name]);
        if name == names[0] {
            wait::until("the first host's call", WITHIN, || Ok((!calls()?.is_empty()).then_some(())))?;
            ensure!(
                shared(&collector.observe(&["--kind", "finding"])?).is_empty(),
                "one host shares nothing"
            );
        }
    }
    let found = wait::until("the finding", PROMPT, || {
        let records = collector.observe(&["--kind", "finding", "--finding", "shared-credential"])?;
        Ok((!records.is_empty()).then_some(records))
    });
    let found = found.with_context(|| format!("{:#?}", collector.observe(&["--kind", "model_call"])))?;
    println!("from the second host's call to the finding: {:?}", called.elapsed());
    let found = shared(&found);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((named(found[0]), found[0].severity.as_str()), (BTreeSet::from(names), "high"));
    for (host, name) in hosts.into_iter().zip(names) {
        let stopped = host.sensor.stop()?;
        // Each sensor saw what was below its own cgroup, and nobody else's.
        assert_eq!(calls(&stopped.records).count(), 1, "{name}: {:#?}", stopped.records);
        assert!(calls(&stopped.records).all(|call| call.binding != "unbound"));
        assert!(shared(&stopped.records).is_empty(), "{name} alone cannot know");
    }
    Ok(())
}

#[test]
fn the_http_interface_is_what_its_description_says() -> Result<()> {
    let schemathesis = setup::schemathesis()?;
    let collector = Collector::start(&["web-1"])?;
    let scratch = Scratch::new("schemathesis")?;
    let mut run = Command::new(schemathesis);
    // It leaves files where it runs.
    run.current_dir(scratch.path());
    run.args(["run", &format!("{}/openapi.json", collector.questions())])
        .args(["--header", &format!("Authorization: Bearer {}", collector.token()?)])
        .args(["--tls-verify", &collector.ca().to_string_lossy()])
        // The same cases in every run.
        .args(["--seed", "1", "--max-examples", "60", "--no-color"])
        .env("REQUESTS_CA_BUNDLE", collector.ca());
    let output = run.output().context("cannot run schemathesis")?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(told.contains("No issues found"), "{told}");
    Ok(())
}

#[test]
fn the_collectors_unit_is_ready_when_it_listens_and_is_started_anew_when_it_is_stuck() -> Result<()> {
    let path = paths::repository().join("deploy/systemd").join(UNIT);
    let unit = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let scratch = Scratch::new("collector-unit")?;
    let command = format!(
        "ExecStart={} serve --listen 127.0.0.1:0 --query 127.0.0.1:0 --dir {}",
        collector::program()?.display(),
        scratch.path().display()
    );
    // What differs from the file: folders of this test, which another user could not write, and a shorter time.
    let unit = unit
        .replace("[Unit]", "[Unit]\nDefaultDependencies=no")
        .replace("After=network-online.target time-sync.target\nWants=network-online.target\n", "")
        .replace("ExecStart=/usr/bin/keywitness-collector serve", &command)
        .replace("DynamicUser=yes\n", "")
        .replace("PrivateUsers=yes\n", "")
        .replace("PrivateTmp=yes\n", "")
        .replace("StateDirectory=keywitness-collector\n", "")
        .replace("ProtectSystem=strict\n", "")
        .replace("WatchdogSec=60", "WatchdogSec=4\nTimeoutAbortSec=1");
    let sandbox = Sandbox::new(Network::Shared)?;
    let systemd = Systemd::start_unit(&sandbox, UNIT, &unit)?;
    let property = |name: &str| -> Result<String> {
        let line = systemd.control(&["show", "--property", name, UNIT])?;
        Ok(line.trim().split_once('=').map_or(String::new(), |(_, value)| value.to_owned()))
    };
    systemd.control(&["start", UNIT])?;
    let told = wait::until("the state of the collector", WITHIN, || {
        let text = property("StatusText")?;
        Ok((!text.is_empty()).then_some(text))
    })?;
    assert_eq!(told, "0 sensors; 0 records stored");
    systemd.control(&["kill", "--signal", "STOP", UNIT])?;
    wait::until("the watchdog", WITHIN, || Ok((property("NRestarts")? == "1").then_some(())))?;
    wait::until("the collector to run again", WITHIN, || {
        Ok((property("ActiveState")? == "active").then_some(()))
    })?;
    systemd.control(&["stop", UNIT])?;
    assert_eq!(property("Result")?, "success");
    Ok(())
}
