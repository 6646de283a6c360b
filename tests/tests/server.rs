//! The model endpoint tells the truth about real clients.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    cgroup::Cgroup,
    client::{self, Client, Runtime},
    keys,
    sandbox::{Network, Sandbox},
    server::{Server, Truth},
    setup,
};

#[test]
fn every_client_reaches_the_endpoint_and_is_logged() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    // A WebSocket carries several turns; `clients` compares those.
    let clients: Vec<_> = client::all().into_iter().filter(|client| client.script != "ws_call.py").collect();
    for client in &clients {
        let (key, model) = (client.key(&client.name()), format!("model-{}", client.mode));
        let before = server.truth()?.len();
        let finished = client.run(&sandbox, None, &key, &model)?;
        let printed = String::from_utf8(finished.output.stdout.clone())?;
        assert_eq!(printed.lines().next(), Some(finished.pid.to_string().as_str()), "{}", client.name());
        let truths = server.truth()?;
        assert_eq!(
            truths.len() - before,
            if client.mode.ends_with("chat-twice") { 2 } else { 1 },
            "{}",
            client.name()
        );
        for truth in &truths[before..] {
            check(client, truth, &key, &model).with_context(|| format!("{}: {truth:?}", client.name()))?;
        }
    }
    let inputs: HashMap<_, _> = server.truth()?.into_iter().map(|truth| (truth.input_tokens, ())).collect();
    ensure!(inputs.len() + 1 >= clients.len(), "token counts are distinct");
    Ok(())
}

fn check(client: &Client, truth: &Truth, key: &str, model: &str) -> Result<()> {
    ensure!(truth.status == 200, "status");
    ensure!(truth.key == key, "key");
    ensure!(truth.model.as_deref() == Some(model), "model");
    ensure!(truth.sni.as_deref() == Some(truth.host.as_str()), "name");
    ensure!(truth.stream == client.mode.contains("stream"), "stream");
    ensure!(truth.input_tokens.is_some() == (client.mode != "stream-without-usage"), "usage");
    ensure!(truth.source_port != 0 && truth.source_address.starts_with("127."), "source");
    let gzip = (client.runtime != Runtime::Curl && !truth.stream)
        || (truth.stream && client.provider == "anthropic");
    ensure!(!gzip || truth.encoding == "gzip", "coding");
    Ok(())
}

#[test]
fn a_bad_key_is_refused_and_logged() -> Result<()> {
    setup::clients()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let client =
        Client { runtime: Runtime::Python, script: "openai_call.py", mode: "sync", provider: "openai" };
    let finished = client.run(&sandbox, None, "sk-bad-key", "gpt-5-mini")?;
    assert!(String::from_utf8_lossy(&finished.output.stdout).contains("refused"));
    let truths = server.truth()?;
    assert_eq!((truths.len(), truths[0].status, truths[0].input_tokens), (1, 401, None));
    Ok(())
}

#[test]
fn two_hundred_connections_are_open_at_once_in_each_runtime() -> Result<()> {
    setup::clients()?;
    for (runtime, script, stack) in [
        (Runtime::Python, "many_async.py", "aiohttp"),
        (Runtime::Python, "many_async.py", "openai"),
        (Runtime::Node, "many_node.js", "own"),
        (Runtime::Node, "many_node.js", "pool"),
    ] {
        let sandbox = Sandbox::new(Network::Private)?;
        let server = Server::start(&sandbox)?;
        let keys: Vec<String> = (0..200).map(|index| keys::openai(&format!("{stack}-{index}"))).collect();
        client::many(runtime, script, stack, 3, &keys, &sandbox, None)?;
        let truths = server.truth()?;
        assert_eq!(truths.len(), 600, "{stack}");
        let mut ports: HashMap<u16, Vec<&Truth>> = HashMap::new();
        for truth in &truths {
            ports.entry(truth.source_port).or_default().push(truth);
        }
        if stack != "pool" {
            assert_eq!(ports.len(), 200, "{stack}: one connection for each key");
            assert!(ports.values().all(|calls| calls.iter().all(|call| call.key == calls[0].key)), "{stack}");
        }
    }
    Ok(())
}

#[test]
fn a_client_runs_in_its_cgroup() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let cgroup = Cgroup::new("where")?;
    let output = sandbox.command_in(&cgroup, "/bin/cat").arg("/proc/self/cgroup").output()?;
    let text = String::from_utf8(output.stdout)?;
    let name = cgroup.name();
    assert!(text.lines().any(|line| line.strip_prefix("0::") == Some(name.as_str())), "{text}");
    Ok(())
}

#[test]
fn the_hosts_file_of_the_machine_stays_as_it_is() -> Result<()> {
    let before = std::fs::read_to_string("/etc/hosts")?;
    let sandbox = Sandbox::new(Network::Private)?;
    let inside = sandbox.command("/bin/cat").arg("/etc/hosts").output()?;
    assert!(String::from_utf8(inside.stdout)?.contains("api.openai.com"));
    assert_eq!(std::fs::read_to_string("/etc/hosts")?, before);
    Ok(())
}
