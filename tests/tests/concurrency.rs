//! Two hundred connections of one process, or sixty streams of one connection, with a different key on each: no pair
//! is ever wrong.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    cgroup::Cgroup,
    client::{self, Client, Runtime},
    compare::{Known, Who, compare},
    keys,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::{Protection, Server},
    setup,
};

const CONNECTIONS: usize = 200;
const GRPC: &str = "many_grpc.py";
/// Keys that share one HTTP/2 connection.
const STREAMS: usize = 60;
/// How AEAD functions are found.
const AEAD: &str = "aes_gcm.aead_constants";
/// The same of ChaCha20-Poly1305.
const CHACHA: &str = "chacha20_poly1305.aead_constants";
const ROUNDS: u32 = 3;
/// Share of calls that may stay without a flow.
const UNCERTAIN: f64 = 0.01;
/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(30);

fn observe(runtime: Runtime, script: &str, stack: &str, keys: usize) -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let sensor = Sensor::start(&[])?;
    observe_by(sensor, &server, &sandbox, runtime, script, stack, keys)
}

/// A program with a TLS library of its own, found by `method`, which is waited for.
fn observe_stack(runtime: Runtime, method: &str, script: &str, stack: &str) -> Result<()> {
    observe_protected(runtime, method, script, stack, Protection::Any)
}

/// The same with an endpoint that protects connections in one way.
fn observe_protected(
    runtime: Runtime,
    method: &str,
    script: &str,
    stack: &str,
    protection: Protection,
) -> Result<()> {
    setup::stacks()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start_with(&sandbox, protection)?;
    let sensor = Sensor::start(&[])?;
    sensor.probe(runtime, method, SETTLE)?;
    observe_by(sensor, &server, &sandbox, runtime, script, stack, CONNECTIONS)
}

fn observe_by(
    mut sensor: Sensor,
    server: &Server,
    sandbox: &Sandbox,
    runtime: Runtime,
    script: &str,
    stack: &str,
    keys: usize,
) -> Result<()> {
    let cgroup = Cgroup::new("many")?;
    // gRPC calls go to xAI.
    let shape = if script == GRPC { keys::xai } else { keys::openai };
    let keys: Vec<String> = (0..keys).map(|index| shape(&format!("{stack}-{index}"))).collect();
    let finished = client::many(runtime, script, stack, ROUNDS, &keys, sandbox, Some(&cgroup))?;
    let mut truths = server.truth()?;
    truths.retain(|truth| keys.contains(&truth.key));
    ensure!(truths.len() == keys.len() * ROUNDS as usize, "the endpoint saw {} requests", truths.len());
    let complete = |records: &[_]| {
        let ours = |call: &&proto::v1::ModelCall| {
            call.process.as_ref().is_some_and(|process| process.pid == finished.pid)
        };
        calls(records).filter(ours).count() >= truths.len()
    };
    if let Err(error) = sensor.wait_for("a record of every call", SETTLE, complete) {
        eprintln!("{error:#}");
    }
    let fingerprints = sensor.fingerprints(&keys)?;
    let stopped = sensor.stop()?;
    let who = Who { pid: finished.pid, exe: finished.exe, cgroup: Some(cgroup.name()) };
    let known = Known { address: sandbox.address(), fingerprints: &fingerprints };
    let result = compare(&truths, &stopped.records, &known, |_| Some(who.clone()));
    eprintln!("{script} {stack}: {}", result.summary());
    let status = stopped.last_status()?;
    result
        .require(UNCERTAIN)
        .with_context(|| format!("the sensor lost {:?} and skipped {:?}", status.lost, status.skipped))
}

#[test]
fn asyncio_with_aiohttp_has_no_wrong_pair() -> Result<()> {
    observe(Runtime::Python, "many_async.py", "aiohttp", CONNECTIONS)
}

#[test]
fn asyncio_with_the_openai_sdk_has_no_wrong_pair() -> Result<()> {
    observe(Runtime::Python, "many_async.py", "openai", CONNECTIONS)
}

#[test]
fn the_openai_sdk_without_tls_has_no_wrong_pair() -> Result<()> {
    observe(Runtime::Python, "many_async.py", "clear", CONNECTIONS)
}

#[test]
fn node_with_a_connection_for_each_key_has_no_wrong_pair() -> Result<()> {
    observe(Runtime::Node, "many_node.js", "own", CONNECTIONS)
}

#[test]
fn node_with_keys_taking_turns_on_pooled_connections_has_no_wrong_pair() -> Result<()> {
    observe(Runtime::Node, "many_node.js", "pool", CONNECTIONS)
}

#[test]
fn rustls_with_ring_has_no_wrong_pair() -> Result<()> {
    observe_stack(Runtime::Ring, AEAD, "rustls", "many")
}

#[test]
fn rustls_with_aws_lc_has_no_wrong_pair() -> Result<()> {
    observe_stack(Runtime::AwsLc, AEAD, "rustls", "many")
}

#[test]
fn tls_1_2_below_rustls_has_no_wrong_pair() -> Result<()> {
    for runtime in [Runtime::Ring, Runtime::AwsLc, Runtime::AwsLcWithoutVaes] {
        observe_protected(runtime, AEAD, "rustls", "many", Protection::Gcm12)?;
    }
    Ok(())
}

#[test]
fn chacha20_poly1305_below_rustls_has_no_wrong_pair() -> Result<()> {
    for (runtime, protection) in [
        (Runtime::Ring, Protection::Chacha13),
        (Runtime::AwsLc, Protection::Chacha13),
        (Runtime::Ring, Protection::Chacha12),
    ] {
        observe_protected(runtime, CHACHA, "rustls", "many", protection)?;
    }
    Ok(())
}

#[test]
fn go_has_no_wrong_pair() -> Result<()> {
    observe_stack(Runtime::Go, "go.go_table", "net/http", "many")
}

#[test]
fn bun_has_no_wrong_pair() -> Result<()> {
    observe_stack(Runtime::Bun, "boringssl.error_sites", "many_fetch.mjs", "fetch")
}

#[test]
#[ignore = "on a busy machine the first requests of some of these connections are not read, the cause is not known: 4 to 92 of 600 missing, none with a wrong owner"]
fn deno_has_no_wrong_pair() -> Result<()> {
    observe_stack(Runtime::Deno, AEAD, "many_fetch.mjs", "fetch")
}

#[test]
fn gnutls_below_libcurl_has_no_wrong_pair() -> Result<()> {
    observe(Runtime::Python, "many_curl.py", "libcurl-gnutls.so.4", CONNECTIONS)
}

#[test]
fn grpcio_has_no_wrong_pair() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let sensor = Sensor::start(&[])?;
    // Its TLS library is in a module of Python, which is found when a process that has it calls.
    let client = Client { runtime: Runtime::Python, script: "grpc_call.py", mode: "plain", provider: "x_ai" };
    client.run(&sandbox, None, &keys::xai("first"), "first")?;
    sensor.wait_until_probed(
        &setup::python_module(&setup::python(), "grpc/_cython")?,
        "boringssl.error_sites",
        SETTLE,
    )?;
    observe_by(sensor, &server, &sandbox, Runtime::Python, GRPC, "grpcio", CONNECTIONS)
}

#[test]
fn sixty_streams_of_httpx_on_one_connection_have_no_wrong_pair() -> Result<()> {
    observe(Runtime::Python, "many_async.py", "h2", STREAMS)
}

#[test]
fn sixty_streams_of_node_on_one_connection_have_no_wrong_pair() -> Result<()> {
    observe(Runtime::Node, "many_node.js", "h2", STREAMS)
}
