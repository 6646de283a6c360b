//! Calls of programs whose TLS library has no symbols, is not OpenSSL, or is Go's.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    compare::{Who, settle},
    sandbox::{Network, Sandbox},
    sensor::Sensor,
    server::Server,
    setup,
};
use proto::v1::record::Body;

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

const fn client(runtime: Runtime, script: &'static str, mode: &'static str) -> Client {
    Client { runtime, script, mode, provider: "openai" }
}

/// Each client, and how its TLS functions are found.
const CLIENTS: [(Client, &str); 7] = [
    (client(Runtime::Bun, "fetch_call.mjs", "plain"), "boringssl.error_sites"),
    (client(Runtime::Bun, "fetch_call.mjs", "stream"), "boringssl.error_sites"),
    (client(Runtime::Deno, "fetch_call.mjs", "plain"), "aes_gcm.aead_constants"),
    (client(Runtime::Deno, "fetch_call.mjs", "stream"), "aes_gcm.aead_constants"),
    (client(Runtime::Go, "go_call", "plain"), "go.go_table"),
    (client(Runtime::Go, "go_call", "stream"), "go.go_table"),
    (client(Runtime::Wget, "wget_call.sh", "plain"), "gnutls.exported_symbol"),
];

#[test]
fn calls_of_other_tls_stacks_have_their_process_key_model_tokens_and_flow() -> Result<()> {
    setup::stacks()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let sensor = Sensor::start(&[])?;
    let cgroup = Cgroup::new("stacks")?;
    for (one, method) in CLIENTS {
        if matches!(one.runtime, Runtime::Bun | Runtime::Deno | Runtime::Go) {
            let _ = std::process::Command::new(one.runtime.program()?).arg("--version").output()?;
            sensor.wait_until_probed(&one.runtime.exe()?, method, SETTLE)?;
        }
    }
    let mut who = HashMap::new();
    let mut methods = HashMap::new();
    for (one, method) in CLIENTS {
        let key = one.key(&format!("{method} {}", one.mode));
        let finished = one.run(&sandbox, Some(&cgroup), &key, &format!("model-{}", one.mode))?;
        methods.insert(finished.pid, method);
        who.insert(key, Who { pid: finished.pid, exe: finished.exe, cgroup: Some(cgroup.name()) });
    }
    let (stopped, result) = settle(sensor, &server, &sandbox, &who, SETTLE)?;
    result.require(0.0)?;
    for record in &stopped.records {
        let Some(Body::Flow(flow)) = &record.body else { continue };
        let pid = flow.process.as_ref().map(|process| process.pid).unwrap_or_default();
        if let Some(method) = methods.remove(&pid) {
            assert_eq!(flow.tls.as_ref().map(|tls| tls.method.as_str()), Some(method));
        }
    }
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
