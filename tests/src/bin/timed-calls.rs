//! What calls of a model take, as their client sees it: nanoseconds of each, as JSON, for each of two clients.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use keywitness_tests::{
    client::{Runtime, script},
    keys,
    sandbox::{Network, Sandbox},
    server::Server,
    setup,
};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Calls of each client, on one connection
    #[arg(default_value_t = 1000)]
    calls: u32,
}

fn main() -> Result<()> {
    let calls = Arguments::parse().calls.to_string();
    setup::stacks()?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut python = sandbox.command("/usr/bin/python3");
    python.arg(keywitness_tests::paths::repository().join("tests/clients/timed_calls.py"));
    python.args([&keys::openai("timed"), &calls]);
    let mut rustls = script(Runtime::Ring, "", &sandbox, None)?;
    rustls.args(["timed", &keys::openai("timed rustls"), &calls]);
    let taken = serde_json::json!({ "python": times(&mut python)?, "rustls": times(&mut rustls)? });
    println!("{taken}");
    Ok(())
}

fn times(command: &mut Command) -> Result<Vec<u64>> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("the client ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| line.parse().with_context(|| format!("not nanoseconds: {line}"))).collect()
}
