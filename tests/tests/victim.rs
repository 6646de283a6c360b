//! A program whose functions keep live data below the stack pointer is the same with probes as without.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    paths::{self, Scratch},
    sensor::Sensor,
};

/// Seconds under probes, unless this variable says otherwise.
const SECONDS: u32 = 10;
const SECONDS_VARIABLE: &str = "KEYWITNESS_VICTIM_SECONDS";
/// Functions of the program that are probed.
const FUNCTIONS: u64 = 4;

/// No budget takes the probes away: all these calls are useless to the sensor.
const CONFIG: &str = "[tls]\nhit_budget_per_s = 4000000000\n";

#[test]
fn probes_change_nothing_in_a_program_with_live_red_zones() -> Result<()> {
    let scratch = Scratch::new("victim")?;
    let victim = scratch.path().join("victim");
    let source = paths::repository().join("tests/clients/victim.c");
    let compiled =
        Command::new("cc").args(["-O2", "-rdynamic", "-pthread", "-o"]).args([&victim, &source]).status();
    ensure!(compiled.context("no C compiler")?.success(), "the victim does not compile");
    let config = scratch.path().join("config.toml");
    std::fs::write(&config, CONFIG)?;
    let seconds = match std::env::var(SECONDS_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{SECONDS_VARIABLE} is no number of seconds"))?,
        Err(_) => SECONDS,
    };
    let sensor = Sensor::start(&["--config", &config.display().to_string()])?;
    let output = Command::new(&victim).args(["check", &seconds.to_string()]).stdin(Stdio::null()).output()?;
    let stopped = sensor.stop()?;
    let text = String::from_utf8(output.stdout)?;
    eprintln!("{seconds} s: {text}");
    let told: serde_json::Value = serde_json::from_str(&text).with_context(|| {
        format!("the victim ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    ensure!(output.status.success() && told["wrong"] == 0, "something was changed: {told}");
    ensure!(told["probed"] == FUNCTIONS, "not all functions were probed: {told}");
    ensure!(told["calls"].as_u64() > Some(10_000), "hardly anything was called: {told}");
    ensure!(stopped.status.success(), "the sensor ended with {}", stopped.status);
    Ok(())
}
