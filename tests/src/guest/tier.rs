//! One run of the sensor with some of its hooks, and what it recorded of real calls.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use proto::v1::{Flow, Record};
use serde::Serialize;

use crate::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    compare::{Who, settle},
    paths::Scratch,
    sandbox::{Network, Sandbox},
    sensor::Sensor,
    server::Server,
};

/// Time records have to arrive after the last call, and a large executable to be read.
const PATIENCE: Duration = Duration::from_secs(20);

/// Some of the hooks, and who calls.
pub(super) struct Tier {
    /// What is left, for people.
    pub(super) name: &'static str,
    /// Programs that are left out.
    pub(super) disabled: Vec<&'static str>,
    /// The clients, one after the other.
    pub(super) clients: Vec<Client>,
}

/// What became of the calls.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    tier: &'static str,
    /// Hooks that were not in place.
    missing_hooks: Vec<String>,
    /// Calls that the clients made.
    calls: usize,
    /// Calls whose record says process, flow, key, provider, model and tokens as they were.
    calls_right: usize,
    /// Clients whose flow names process, cgroup and provider as they were.
    flows_right: usize,
    /// Clients.
    clients: usize,
    /// One line for each wrong statement.
    wrong: Vec<String>,
    /// Why the tier could not be run.
    error: Option<String>,
}

impl Tier {
    /// Runs it; what cannot be done is part of the outcome.
    pub(super) fn run(&self) -> Outcome {
        let mut outcome = Outcome { tier: self.name, clients: self.clients.len(), ..Outcome::default() };
        if let Err(error) = self.fill(&mut outcome) {
            outcome.error = Some(format!("{error:#}"));
        }
        outcome
    }

    fn fill(&self, outcome: &mut Outcome) -> Result<()> {
        let scratch = Scratch::new("tier")?;
        let config = scratch.path().join("config.toml");
        std::fs::write(&config, format!("[kernel]\ndisabled_hooks = {:?}\n", self.disabled))?;
        let sandbox = Sandbox::new(Network::Shared)?;
        let server = Server::start(&sandbox)?;
        let sensor = Sensor::start(&["--config", &config.display().to_string()])?;
        outcome.missing_hooks = missing_hooks(&sensor.records())?;
        let has = |program: &str| !outcome.missing_hooks.iter().any(|name| name == program);
        if has("kw_go_enter") && self.clients.iter().any(|client| client.runtime == Runtime::Go) {
            // It is read when it is first seen, which may take longer than its first call.
            std::process::Command::new(Runtime::Go.program()?).arg("--version").output()?;
            sensor.wait_until_probed(&Runtime::Go.exe()?, "go.go_table", PATIENCE)?;
        }
        let plaintext = has("kw_tls_enter") && has("kw_tls_return");

        let cgroup = Cgroup::new("tier")?;
        let mut who = HashMap::new();
        for client in &self.clients {
            let key = client.key(&client.name());
            let finished = client.run(&sandbox, Some(&cgroup), &key, &format!("model-{}", client.mode))?;
            who.insert(key, Who { pid: finished.pid, exe: finished.exe, cgroup: Some(cgroup.name()) });
        }
        outcome.calls = server.truth()?.len();
        // Without plaintext there is nothing to wait for but the flows, and they end with the sensor at the latest.
        let patience = if plaintext { PATIENCE } else { Duration::ZERO };
        let (stopped, result) = settle(sensor, &server, &sandbox, &who, patience)?;
        outcome.calls_right = result.right;
        outcome.wrong = result.wrong;
        let flows: Vec<&Flow> = stopped.records.iter().filter_map(Record::flow).collect();
        for caller in who.values() {
            match flows.iter().filter(|flow| is_by(flow, caller)).count() {
                0 => outcome.wrong.push(format!("no flow of {caller:?}")),
                _ => outcome.flows_right += 1,
            }
        }
        if plaintext {
            outcome.wrong.extend(result.missing.iter().map(|truth| format!("missing: {truth:?}")));
            outcome.wrong.extend(result.unbound);
            outcome.wrong.extend(result.unknown);
        } else {
            ensure!(result.right == 0, "calls were read without the hooks on plaintext");
        }
        Ok(())
    }
}

fn missing_hooks(records: &[Record]) -> Result<Vec<String>> {
    let status = records.iter().find_map(Record::status);
    let hooks = &status.context("the sensor has told no status")?.hooks;
    Ok(hooks.iter().filter(|hook| hook.state != "attached").map(|hook| hook.name.clone()).collect())
}

/// Whether a flow to a model provider names `caller` in every respect.
fn is_by(flow: &Flow, caller: &Who) -> bool {
    let process = flow.process.clone().unwrap_or_default();
    let provider = flow.endpoint.as_ref().is_some_and(|endpoint| !endpoint.provider.is_empty());
    provider
        && process.pid == caller.pid
        && process.exe == caller.exe.display().to_string()
        && caller.cgroup.as_ref() == Some(&process.cgroup)
}
