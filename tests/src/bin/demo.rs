//! A local model endpoint and a few clients, two of which share a key, for a first look at the sensor.

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    sandbox::{Network, Sandbox},
    server::Server,
    setup, wait,
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Calls to make before ending by itself
    #[arg(long, default_value_t = 200)]
    calls: u32,
    /// Milliseconds from one call to the next
    #[arg(long, default_value_t = 1500)]
    every: u64,
}

/// One pretended workload.
struct Workload {
    cgroup: Cgroup,
    client: Client,
    key: String,
    model: &'static str,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let sandbox = Sandbox::new(Network::Private)?;
    let server = Server::start(&sandbox)?;
    eprintln!("demo: model endpoint is process {} in its own network namespace", server.pid());
    let workloads = workloads()?;
    for workload in &workloads {
        let (cgroup, client) = (workload.cgroup.name(), workload.client.name());
        eprintln!("demo: {cgroup} calls {} {} with {client}", workload.client.provider, workload.model);
    }
    eprintln!(
        "demo: billing and support share one key; {} calls, no real provider is contacted",
        arguments.calls
    );

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ticks = tokio::time::interval(Duration::from_millis(arguments.every));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut next = workloads.iter().cycle();
    let mut left = arguments.calls;
    let closed = wait::closed_input();
    tokio::pin!(closed);
    while left > 0 {
        tokio::select! {
            _ = ticks.tick() => {
                left -= 1;
                if let Some(workload) = next.next() {
                    workload.client.run(&sandbox, Some(&workload.cgroup), &workload.key, workload.model)?;
                }
            }
            () = &mut closed => break,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    Ok(())
}

fn workloads() -> Result<Vec<Workload>> {
    let curl = |provider, mode| Client { runtime: Runtime::Curl, script: "curl_call.sh", mode, provider };
    let mut plan = vec![
        ("billing", curl("openai", "chat"), "shared", "gpt-5-mini"),
        ("support", curl("openai", "chat-stream"), "shared", "gpt-5"),
        ("research", curl("anthropic", "messages-stream"), "research", "claude-sonnet-4-5"),
    ];
    if setup::python().is_file() {
        let sdk =
            Client { runtime: Runtime::Python, script: "openai_call.py", mode: "stream", provider: "openai" };
        plan.push(("reports", sdk, "reports", "gpt-5-mini"));
    }
    let workload = |(name, client, seed, model): (&str, Client, &str, &'static str)| {
        let cgroup = Cgroup::new(&format!("demo-{name}"))?;
        Ok(Workload { cgroup, key: client.key(&format!("demo {seed}")), client, model })
    };
    plan.into_iter().map(workload).collect()
}
