//! A call over HTTP/3 is told as a flow: who, to which host, and why nothing was read.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    client::{Runtime, finish},
    keys, paths,
    sandbox::{Network, Sandbox},
    sensor::Sensor,
    server::{CERTIFICATE_FILE, Server},
    setup,
};
use proto::v1::{Flow, Record, record::Body};

/// Time a record has to arrive after the call.
const SETTLE: Duration = Duration::from_secs(20);

/// The endpoint; ended on drop.
struct Endpoint(Child);

impl Endpoint {
    fn start(sandbox: &Sandbox) -> Result<Self> {
        let mut command = script(sandbox, "quic_server.py")?;
        command.arg(sandbox.address().to_string()).arg(sandbox.dir().join(CERTIFICATE_FILE));
        let mut endpoint = Self(command.stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        BufReader::new(endpoint.0.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "the endpoint did not start");
        Ok(endpoint)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn script(sandbox: &Sandbox, name: &str) -> Result<Command> {
    let mut command = sandbox.command(setup::quic_python()?);
    command.arg(paths::repository().join("tests/clients").join(name));
    Ok(command)
}

#[test]
fn a_call_over_http3_is_a_flow_with_its_host_and_the_reason() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    // It makes the certificate.
    let _server = Server::start(&sandbox)?;
    let _endpoint = Endpoint::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let mut command = script(&sandbox, "quic_call.py")?;
    command.args([&keys::openai("quic"), "model"]);
    let pid = finish(command, Runtime::Python)?.pid;
    let told = |record: &Record| match &record.body {
        Some(Body::Flow(flow)) => is_told(flow, pid),
        _ => false,
    };
    sensor.wait_for("the flow", SETTLE, |records| records.iter().any(told))?;
    let stopped = sensor.stop()?;
    ensure!(stopped.calls().next().is_none(), "a call was told whose plaintext nobody read");
    Ok(())
}

fn is_told(flow: &Flow, pid: u32) -> bool {
    let (endpoint, tls) = (flow.endpoint.clone().unwrap_or_default(), flow.tls.clone().unwrap_or_default());
    flow.process.as_ref().is_some_and(|process| process.pid == pid)
        && flow.protocol == "udp"
        && (endpoint.provider.as_str(), endpoint.host.as_str()) == ("openai", "api.openai.com")
        && endpoint.host_evidence == "sni"
        && tls.alpn.contains("h3")
        && tls.coverage == "none"
        && tls.coverage_reason.starts_with("quic")
}
