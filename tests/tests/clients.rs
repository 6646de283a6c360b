//! Every real client's calls are attributed to the right process, key, model, tokens and flow.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use keywitness_tests::{
    cgroup::Cgroup,
    client::{self, Client, Runtime},
    compare::{Comparison, Who, settle},
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
    setup,
};
use proto::v1::record::Body;

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

/// Runs `clients` one after the other, each with a key and model of its own, in a fresh sensor's life.
fn observe(clients: &[Client]) -> Result<Comparison> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let sensor = Sensor::start(&[])?;
    let cgroup = Cgroup::new("clients")?;
    let mut who = HashMap::new();
    for client in clients {
        let key = client.key(&client.name());
        let finished = client.run(&sandbox, Some(&cgroup), &key, &format!("model-{}", client.mode))?;
        who.insert(key, Who { pid: finished.pid, exe: finished.exe, cgroup: Some(cgroup.name()) });
    }
    let (_, result) = settle(sensor, &server, &sandbox, &who, SETTLE)?;
    Ok(result)
}

#[test]
fn each_call_of_each_client_has_its_process_key_model_tokens_and_flow() -> Result<()> {
    observe(&client::all())?.require(0.0)
}

#[test]
fn calls_over_http2_and_websockets_are_attributed_like_others() -> Result<()> {
    let newer = |client: &Client| {
        client.mode.contains("h2") || ["http2_call.js", "ws_call.py"].contains(&client.script)
    };
    observe(&client::all().into_iter().filter(newer).collect::<Vec<_>>())?.require(0.0)
}

#[test]
fn calls_over_http2_without_tls_are_read_from_packets() -> Result<()> {
    let grpc = |mode| Client { runtime: Runtime::Python, script: "grpc_call.py", mode, provider: "x_ai" };
    let clients = [curl("clear-h2"), curl("clear-h2-stream"), grpc("clear-plain"), grpc("clear-stream")];
    observe(&clients)?.require(0.0)
}

#[test]
fn the_first_request_of_the_first_process_is_attributed_in_every_runtime() -> Result<()> {
    for runtime in [Runtime::Python, Runtime::Node, Runtime::Curl] {
        let first = client::all().into_iter().find(|client| client.runtime == runtime);
        observe(first.as_slice())?.require(0.0)?;
    }
    Ok(())
}

#[test]
fn a_refused_call_is_recorded_without_tokens() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let client = curl("chat");
    client.run(&sandbox, None, "sk-proj-bad-key-of-nobody-0123456789", "gpt-5-mini")?;
    let id = server.truth()?[0].request_id.clone();
    let seen = |records: &[_]| calls(records).any(|call| call.request_id == id);
    sensor.wait_for("the refused call", SETTLE, seen)?;
    let stopped = sensor.stop()?;
    let call = stopped.calls().find(|call| call.request_id == id).unwrap();
    assert_eq!(call.status, Some(401));
    let tokens = call.tokens.clone().unwrap_or_default();
    assert_eq!((tokens.input, tokens.output), (None, None));
    Ok(())
}

#[test]
fn a_call_to_an_unrelated_host_is_no_model_call_and_shows_no_key() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let (unrelated, related) = (curl("unrelated"), curl("chat"));
    let [hidden, shown] = [&unrelated, &related].map(|client| client.key(client.mode));
    unrelated.run(&sandbox, None, &hidden, "gpt-5-mini")?;
    related.run(&sandbox, None, &shown, "gpt-5-mini")?;
    let last = server.truth()?[1].request_id.clone();
    sensor
        .wait_for("the later call", SETTLE, |records| calls(records).any(|call| call.request_id == last))?;
    let fingerprint = sensor.fingerprints([&hidden])?.remove(&hidden).unwrap();
    let stopped = sensor.stop()?;
    let records = std::fs::read_to_string(stopped.scratch.path().join("stdout.jsonl"))?;
    assert!(!records.contains(&fingerprint));
    assert!(
        stopped
            .calls()
            .all(|call| call.endpoint.as_ref().is_none_or(|endpoint| endpoint.host != "www.example.com"))
    );
    Ok(())
}

#[test]
fn a_cleartext_request_is_recognised_by_its_host_header() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let client = curl("clear");
    let pid = client.run(&sandbox, None, &client.key("clear"), "gpt-5-mini")?.pid;
    let seen = |records: &[proto::v1::Record]| {
        records.iter().any(|record| match &record.body {
            Some(Body::Flow(flow)) => {
                let endpoint = flow.endpoint.clone().unwrap_or_default();
                flow.process.as_ref().is_some_and(|process| process.pid == pid)
                    && endpoint.provider == "openai"
                    && endpoint.host_evidence == "http_host"
            }
            _ => false,
        })
    };
    sensor.wait_for("the cleartext flow", SETTLE, seen)?;
    drop(sensor.stop()?);
    Ok(())
}

#[test]
fn one_key_in_two_cgroups_is_a_finding_and_two_keys_are_none() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let client = curl("chat");
    let (shared, own) = (client.key("shared"), client.key("own"));
    let cgroups = [Cgroup::new("one")?, Cgroup::new("two")?];
    client.run(&sandbox, Some(&cgroups[0]), &own, "gpt-5-mini")?;
    for cgroup in &cgroups {
        client.run(&sandbox, Some(cgroup), &shared, "gpt-5-mini")?;
    }
    let fingerprints = sensor.fingerprints([&shared, &own])?;
    let found = |records: &[proto::v1::Record], key: &String| {
        records.iter().any(|record| match &record.body {
            Some(Body::Finding(finding)) => {
                let fingerprint = finding.credential.as_ref().map(|credential| &credential.fingerprint);
                finding.rule == "shared-credential"
                    && fingerprint == fingerprints.get(key)
                    && finding.participants.len() == 2
            }
            _ => false,
        })
    };
    sensor.wait_for("the finding", SETTLE, |records| found(records, &shared))?;
    let stopped = sensor.stop()?;
    assert!(!found(&stopped.records, &own));
    Ok(())
}

fn curl(mode: &'static str) -> Client {
    Client { runtime: Runtime::Curl, script: "curl_call.sh", mode, provider: "openai" }
}
