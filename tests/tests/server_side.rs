//! What a local server receives is never attributed to it as a call.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime, script},
    keys,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::{CERTIFICATE_FILE, Server},
    setup,
};

/// Calls made through the gateway.
const CALLS: usize = 20;
/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(20);

/// A TLS gateway on OpenSSL; ended on drop.
struct Gateway(Child);

impl Gateway {
    fn start(sandbox: &Sandbox, cgroup: &Cgroup, key: Option<&str>) -> Result<Self> {
        let mut command = script(Runtime::Python, "ssl_server.py", sandbox, Some(cgroup))?;
        command
            .args([&sandbox.address().to_string(), "8443"])
            .arg(sandbox.dir().join(CERTIFICATE_FILE))
            .args(key);
        let mut gateway = Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let mut line = String::new();
        BufReader::new(gateway.0.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "the gateway did not start");
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends calls with one key through a gateway that holds `own` key; checks who is named for which.
fn observe(own: Option<&str>) -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let (front, back) = (Cgroup::new("front")?, Cgroup::new("back")?);
    let gateway = Gateway::start(&sandbox, &back, own)?;
    let client =
        Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "gateway", provider: "openai" };
    let key = client.key("server side");
    for _ in 0..CALLS {
        client.run(&sandbox, Some(&front), &key, "server-side")?;
    }
    let expected = if own.is_some() { 2 * CALLS } else { CALLS };
    let complete = |records: &[_]| {
        calls(records).filter(|call| call.model_requested == "server-side").count() >= expected
    };
    sensor.wait_for("a record of every call", SETTLE, complete)?;
    let own = own.map(str::to_owned);
    let fingerprints = sensor.fingerprints(own.iter().chain([&key]))?;
    let stopped = sensor.stop()?;
    let mut seen = 0;
    for call in stopped.calls().filter(|call| call.model_requested == "server-side") {
        let pid = call.process.as_ref().map(|process| process.pid);
        let fingerprint = call.credential.as_ref().map(|credential| credential.fingerprint.as_str());
        let caller = if pid == Some(gateway.0.id()) { own.as_ref() } else { Some(&key) };
        let right = caller.and_then(|key| fingerprints.get(key)).map(String::as_str);
        ensure!(
            right.is_some() && fingerprint == right,
            "process {pid:?} is named for {fingerprint:?}: {call:?}"
        );
        seen += 1;
    }
    ensure!(seen == expected, "{seen} calls recorded, {expected} were made");
    Ok(())
}

#[test]
fn a_server_is_not_the_caller_of_what_it_receives() -> Result<()> {
    observe(None)
}

#[test]
fn a_gateway_is_the_caller_with_its_own_key_only() -> Result<()> {
    observe(Some(&keys::openai("gateway")))
}
