//! Calls that take an unusual way through the network are told with what is known of them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    client::{Finished, Runtime, finish, script},
    keys,
    paths::{self, Scratch},
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::Server,
    setup,
};
use proto::v1::{Flow, ModelCall, Record, record::Body};

/// Time records have to arrive after the call.
const SETTLE: Duration = Duration::from_secs(20);
/// Clients and listeners may use TCP Fast Open, without a cookie and without asking (ip-sysctl, `tcp_fastopen`).
const FAST_OPEN: &str = "echo 1543 > /proc/sys/net/ipv4/tcp_fastopen";

/// One call, and what the sensor said of it.
struct Told {
    finished: Finished,
    call: ModelCall,
    flows: Vec<Flow>,
}

/// Runs a client of Python in a mode, to which `prepare` adds something.
fn observe(network: Network, mode: &str, prepare: impl FnOnce(&Sandbox) -> Result<String>) -> Result<Told> {
    setup::python_clients()?;
    observe_by(network, |sandbox, key| {
        let mode = mode.to_owned() + &prepare(sandbox)?;
        let mut command = script(Runtime::Python, "network_call.py", sandbox, None)?;
        command.args([key, "model", &mode]);
        Ok(command)
    })
}

fn observe_by(network: Network, client: impl FnOnce(&Sandbox, &str) -> Result<Command>) -> Result<Told> {
    let inside = Sandbox::new(network)?;
    let server = Server::start(&inside)?;
    let mut sensor = Sensor::start(&[])?;
    let key = keys::openai("network");
    let command = client(&inside, &key)?;
    let finished = finish(command, Runtime::Python)?;
    let id = server.truth()?.pop().context("the endpoint was not called")?.request_id;
    let pid = finished.pid;
    let ours = |record: &Record| match &record.body {
        Some(Body::Flow(flow)) => flow.process.as_ref().is_some_and(|process| process.pid == pid),
        _ => false,
    };
    sensor.wait_for("the call and its flow", SETTLE, |records| {
        calls(records).any(|call| call.request_id == id) && records.iter().any(ours)
    })?;
    let fingerprint = sensor.fingerprints([&key])?.remove(&key);
    let stopped = sensor.stop()?;
    let all: Vec<_> = stopped.calls().filter(|call| call.request_id == id).cloned().collect();
    ensure!(all.len() == 1, "the call was told {} times: {all:?}", all.len());
    let call = all[0].clone();
    ensure!(
        call.credential.as_ref().map(|known| &known.fingerprint) == fingerprint.as_ref(),
        "key: {call:?}"
    );
    ensure!(call.process.as_ref().is_some_and(|process| process.pid == pid), "process: {call:?}");
    let flow = |record: Record| match record.body {
        Some(Body::Flow(flow)) => Some(*flow),
        _ => None,
    };
    let flows = stopped.records.into_iter().filter_map(flow).collect();
    Ok(Told { finished, call, flows })
}

impl Told {
    /// The call is bound to a flow of its own, and its host is known by `evidence`.
    fn require(&self, evidence: &str) -> Result<()> {
        let own = self.require_bound("client_random", evidence)?;
        let tls = own.tls.clone().unwrap_or_default();
        ensure!(tls.coverage == "plaintext", "{tls:?}");
        Ok(())
    }

    /// The call's own flow, if it is bound by `binding` and its host known by `evidence`.
    fn require_bound(&self, binding: &str, evidence: &str) -> Result<&Flow> {
        let endpoint = self.call.endpoint.clone().unwrap_or_default();
        ensure!(endpoint.host == "api.openai.com" && endpoint.host_evidence == evidence, "{endpoint:?}");
        ensure!(self.call.binding == binding, "{}: {}", self.call.binding, self.call.binding_reason);
        let own =
            self.flows.iter().find(|flow| flow.id == self.call.flow_id).context("its flow is not told")?;
        let process = own.process.clone().unwrap_or_default();
        ensure!(process.pid == self.finished.pid, "the flow is of {process:?}");
        Ok(own)
    }
}

/// A proxy beside the client; ended on drop.
struct Proxy(Child);

impl Proxy {
    /// Starts it; the port goes behind a colon.
    fn start(sandbox: &Sandbox, mode: &str, kept: &mut Option<Self>) -> Result<String> {
        let mut command = script(Runtime::Python, "proxy.py", sandbox, None)?;
        command.args([&sandbox.address().to_string(), mode]).stdout(Stdio::piped());
        let proxy = kept.insert(Self(command.spawn()?));
        let mut line = String::new();
        BufReader::new(proxy.0.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(!line.is_empty(), "the proxy did not start");
        Ok(format!(":{}", line.trim()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn multipath_tcp_is_told_like_tcp() -> Result<()> {
    observe(Network::Shared, "mptcp", |_| Ok(String::new()))?.require("sni")
}

#[test]
fn a_client_hello_in_the_syn_is_seen() -> Result<()> {
    let prepare = |sandbox: &Sandbox| {
        let status = sandbox.command("/bin/sh").args(["-c", FAST_OPEN]).status()?;
        ensure!(status.success(), "TCP Fast Open cannot be switched on");
        Ok(String::new())
    };
    observe(Network::Private, "fastopen", prepare)?.require("sni")
}

#[test]
fn what_io_uring_sends_is_seen() -> Result<()> {
    let scratch = Scratch::new("uring")?;
    let program = scratch.path().join("uring_call");
    let source = paths::repository().join("tests/clients/uring_call.c");
    let compiled = Command::new("cc").args(["-O2", "-o"]).args([&program, &source]).status();
    ensure!(compiled.context("no C compiler")?.success(), "the client does not compile");
    let told = observe_by(Network::Shared, |sandbox, key| {
        let mut command = sandbox.command(&program);
        command.args([&sandbox.address().to_string(), key, "model"]);
        Ok(command)
    })?;
    told.require_bound("cleartext", "http_host")?;
    Ok(())
}

#[test]
fn without_a_server_name_the_request_names_the_host() -> Result<()> {
    observe(Network::Shared, "nameless", |_| Ok(String::new()))?.require("http_host")
}

#[test]
fn inside_a_tunnel_of_a_proxy_on_this_host_the_client_makes_the_call() -> Result<()> {
    let mut proxy = None;
    observe(Network::Shared, "connect", |sandbox| Proxy::start(sandbox, "connect", &mut proxy))?
        .require("sni")
}

#[test]
fn a_relay_on_this_host_that_passes_tls_on_does_not_take_the_call() -> Result<()> {
    let mut proxy = None;
    observe(Network::Shared, "relay", |sandbox| Proxy::start(sandbox, "relay", &mut proxy))?.require("sni")
}
