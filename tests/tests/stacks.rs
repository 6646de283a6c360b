//! Calls of programs whose TLS library has no symbols, is not OpenSSL, or is Go's.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::Result;
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    compare::{Who, settle},
    sandbox::{Network, Sandbox},
    sensor::Sensor,
    server::{Protection, Server},
    setup,
};
use proto::v1::record::Body;

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

const fn client(runtime: Runtime, script: &'static str, mode: &'static str) -> Client {
    Client { runtime, script, mode, provider: "openai" }
}

/// How AES-GCM below a TLS library is found.
const GCM: &str = "aes_gcm.aead_constants";

/// The same of ChaCha20-Poly1305.
const CHACHA: &str = "chacha20_poly1305.aead_constants";

/// Each client, and how its TLS functions are found.
const CLIENTS: [(Client, &str); 17] = [
    (client(Runtime::Bun, "fetch_call.mjs", "plain"), "boringssl.error_sites"),
    (client(Runtime::Bun, "fetch_call.mjs", "stream"), "boringssl.error_sites"),
    (client(Runtime::Deno, "fetch_call.mjs", "plain"), GCM),
    (client(Runtime::Deno, "fetch_call.mjs", "stream"), GCM),
    (client(Runtime::Go, "go_call", "plain"), "go.go_table"),
    (client(Runtime::Go, "go_call", "stream"), "go.go_table"),
    (client(Runtime::Ring, "ring_call", "plain"), GCM),
    (client(Runtime::Ring, "ring_call", "stream"), GCM),
    (client(Runtime::Ring, "ring_call", "h2-plain"), GCM),
    (client(Runtime::Ring, "ring_call", "h2-stream"), GCM),
    (client(Runtime::AwsLc, "aws_lc_call", "plain"), GCM),
    (client(Runtime::AwsLc, "aws_lc_call", "stream"), GCM),
    (client(Runtime::AwsLc, "aws_lc_call", "h2-plain"), GCM),
    (client(Runtime::AwsLc, "aws_lc_call", "h2-stream"), GCM),
    (client(Runtime::AwsLcWithoutVaes, "aws_lc_call", "plain"), GCM),
    (client(Runtime::AwsLcWithoutVaes, "aws_lc_call", "stream"), GCM),
    (client(Runtime::Wget, "wget_call.sh", "plain"), "gnutls.exported_symbol"),
];

/// Clients of endpoints that protect connections in another way than most: each cryptography library, on processors
/// with and without VAES.
const OTHERWISE: [Client; 11] = [
    client(Runtime::Ring, "ring_call", "plain"),
    client(Runtime::Ring, "ring_call", "stream"),
    client(Runtime::Ring, "ring_call", "h2-plain"),
    client(Runtime::Ring, "ring_call", "h2-stream"),
    client(Runtime::AwsLc, "aws_lc_call", "plain"),
    client(Runtime::AwsLc, "aws_lc_call", "stream"),
    client(Runtime::AwsLc, "aws_lc_call", "h2-stream"),
    client(Runtime::AwsLcWithoutVaes, "aws_lc_call", "plain"),
    client(Runtime::AwsLcWithoutVaes, "aws_lc_call", "stream"),
    client(Runtime::Deno, "fetch_call.mjs", "plain"),
    client(Runtime::Deno, "fetch_call.mjs", "stream"),
];

#[test]
fn calls_of_other_tls_stacks_have_their_process_key_model_tokens_and_flow() -> Result<()> {
    all_are_right(&CLIENTS, Protection::Any)
}

#[test]
fn tls_1_2_below_rustls_is_read() -> Result<()> {
    all_are_right(&OTHERWISE.map(|one| (one, GCM)), Protection::Gcm12)
}

#[test]
fn chacha20_poly1305_below_rustls_is_read() -> Result<()> {
    all_are_right(&OTHERWISE.map(|one| (one, CHACHA)), Protection::Chacha13)
}

#[test]
fn chacha20_poly1305_of_tls_1_2_below_rustls_is_read() -> Result<()> {
    all_are_right(&OTHERWISE.map(|one| (one, CHACHA)), Protection::Chacha12)
}

/// Holds the calls of `clients`, each with how its functions are found, against what the endpoint received.
fn all_are_right(clients: &[(Client, &'static str)], protection: Protection) -> Result<()> {
    setup::stacks()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start_with(&sandbox, protection)?;
    let sensor = Sensor::start(&[])?;
    let cgroup = Cgroup::new("stacks")?;
    for &(one, method) in clients {
        if one.runtime != Runtime::Wget {
            sensor.probe(one.runtime, method, SETTLE)?;
        }
    }
    let mut who = HashMap::new();
    let mut methods = HashMap::new();
    for &(one, method) in clients {
        let key = one.key(&format!("{:?} {}", one.runtime, one.mode));
        let finished = one.run(&sandbox, Some(&cgroup), &key, &format!("model-{}", one.mode))?;
        methods.insert(finished.pid, (format!("{:?}", one.runtime), method));
        who.insert(key, Who { pid: finished.pid, exe: finished.exe, cgroup: Some(cgroup.name()) });
    }
    let (stopped, result) = settle(sensor, &server, &sandbox, &who, SETTLE)?;
    result.require(0.0)?;
    let mut unproven: HashSet<String> = methods.values().map(|(runtime, _)| runtime.clone()).collect();
    for record in &stopped.records {
        let Some(Body::Flow(flow)) = &record.body else { continue };
        let pid = flow.process.as_ref().map(|process| process.pid).unwrap_or_default();
        let Some((runtime, method)) = methods.remove(&pid) else { continue };
        // A process that ended before it could be looked at has no method in its flow.
        let told = flow.tls.as_ref().map(|tls| tls.method.as_str()).unwrap_or_default();
        assert!(told.is_empty() || told == method, "{runtime}: {told} instead of {method}");
        if told == method {
            unproven.remove(&runtime);
        }
    }
    assert!(unproven.is_empty(), "no method in any flow of {unproven:?}");
    assert!(methods.is_empty(), "no flow of {methods:?}");
    Ok(())
}

#[test]
fn an_executable_that_is_not_read_is_told_with_its_build_id() -> Result<()> {
    let mut command = std::process::Command::new(keywitness_tests::paths::keywitness()?);
    let output = command.args(["doctor", "--json", "--binary", "/bin/true"]).output()?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["functions"], serde_json::json!([]));
    assert!(report["build_id"].as_str().is_some_and(|id| id.len() == 40), "{report}");
    Ok(())
}
