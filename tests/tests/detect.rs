//! Findings on the real kernel: who shares a key, and who only seems to.

use std::time::Duration;

use anyhow::Result;
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
};
use proto::v1::{Finding, Record, record::Body};

/// Time in which a finding has to be told after the call that makes it one.
const PROMPT: Duration = Duration::from_secs(2);
/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

fn shared<'a>(records: &'a [Record], fingerprint: &'a str) -> impl Iterator<Item = &'a Finding> {
    records.iter().filter_map(move |record| match &record.body {
        Some(Body::Finding(finding)) if finding.rule == "shared-credential" => {
            let own = finding.credential.as_ref().is_some_and(|one| one.fingerprint == fingerprint);
            own.then_some(finding)
        }
        _ => None,
    })
}

#[test]
fn two_services_with_one_key_are_one_finding_and_replicas_are_none() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    let (both, replicas) = (client.key("both"), client.key("replicas"));
    let known = sensor.fingerprints([&both, &replicas])?;
    let services = [Cgroup::service("billing")?, Cgroup::service("mail")?];

    for _ in 0..3 {
        client.run(&sandbox, Some(&services[0]), &replicas, "gpt-5-mini")?;
    }
    client.run(&sandbox, Some(&services[0]), &both, "gpt-5-mini")?;
    client.run(&sandbox, Some(&services[1]), &both, "gpt-5-mini")?;
    sensor.wait_for("the finding", PROMPT, |records| shared(records, &known[&both]).next().is_some())?;
    let ids: Vec<String> = server.truth()?.into_iter().map(|truth| truth.request_id).collect();
    sensor.wait_for("every call", SETTLE, |records| {
        ids.iter().all(|id| calls(records).any(|call| call.request_id == *id))
    })?;

    let stopped = sensor.stop()?;
    let found: Vec<&Finding> = shared(&stopped.records, &known[&both]).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].severity.as_str(), found[0].state.as_str()), ("medium", "open"));
    for service in &services {
        let unit = service.name().trim_start_matches('/').to_owned();
        assert!(found[0].title.contains(&unit), "{} does not name {unit}", found[0].title);
    }
    assert_eq!(found[0].participants.len(), 2);
    assert!(found[0].participants.iter().all(|one| !one.evidence.is_empty()));
    assert_eq!(shared(&stopped.records, &known[&replicas]).count(), 0);
    Ok(())
}

#[test]
fn a_policy_that_is_written_while_the_sensor_runs_takes_effect() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let path = std::env::temp_dir().join(format!("keywitness-policy-{}.toml", std::process::id()));
    std::fs::write(&path, "")?;
    let mut sensor = Sensor::start(&["--policy", &path.to_string_lossy()])?;
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    let key = client.key("unregistered");
    client.run(&sandbox, None, &key, "gpt-5-mini")?;
    let fingerprint = sensor.fingerprints([&key])?.remove(&key).unwrap_or_default();
    sensor.wait_for("the call", SETTLE, |records| calls(records).next().is_some())?;
    std::fs::write(&path, "[[entitlement]]\nlabel = 'other'\nfingerprint = 'kw1-none-1'\n")?;
    let found = |records: &[Record]| {
        records.iter().any(|record| match &record.body {
            Some(Body::Finding(finding)) => {
                finding.rule == "unregistered-credential" && finding.subject == fingerprint
            }
            _ => false,
        })
    };
    let result = sensor.wait_for("the finding", SETTLE, found);
    std::fs::remove_file(&path)?;
    result?;
    drop(sensor.stop()?);
    Ok(())
}
