//! A known agent, its children, and a child that outlives it; what their calls cost.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    client::Runtime,
    keys, paths,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::{Server, Truth},
};
use proto::v1::{Record, Session};

/// Time records have to arrive.
const SETTLE: Duration = Duration::from_secs(30);
/// A model with a list price: dollars for a million tokens are 2.5, 1.25 from the cache, and 10 for output.
const MODEL: &str = "gpt-4o";
/// The agent: one call in its own time by a child, and a child that calls when it is let go. `$0` is curl,
/// `$1` the key, `$2` the pipe that lets go.
const AGENT: &str = r#"
call() { "$1" --silent --fail -H "authorization: Bearer $2" -d '{"model":"gpt-4o","messages":[]}' https://api.openai.com/v1/chat/completions >"$3.out"; }
call "$0" "$1" "$2" || exit 1
(read line <"$2"; call "$0" "$1" "$2") </dev/null >/dev/null 2>&1 &
"#;

fn sessions(records: &[Record]) -> Vec<&Session> {
    records.iter().filter_map(Record::session).collect()
}

/// What the table says a call costs, in 10^-9 dollars.
fn expected(truth: &Truth) -> Result<u64> {
    let count = |count: Option<u64>| count.context("the endpoint reported no tokens");
    let (input, output, cached) =
        (count(truth.input_tokens)?, count(truth.output_tokens)?, count(truth.cache_read)?);
    Ok((input - cached) * 2500 + cached * 1250 + output * 10_000)
}

fn nano(dollars: &str) -> Result<u64> {
    let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
    ensure!(fraction.len() <= 9, "{dollars} has more than nine decimals");
    Ok(whole.parse::<u64>()? * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>()?)
}

/// The sums of a verb over recorded records, one for each row.
fn rows(verb: &[&str], records: &Path) -> Result<Vec<serde_json::Value>> {
    let mut command = Command::new(paths::keywitness()?);
    let output = command.args(verb).args(["-o", "json", "--input-file"]).arg(records).output()?;
    ensure!(output.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn a_child_that_outlives_its_agent_is_orphaned_and_calls_cost_their_price() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut sensor = Sensor::start(&[])?;
    let agent = sandbox.dir().join("codex");
    fs::copy(Path::new("/bin/sh").canonicalize()?, &agent)?;
    let pipe = sandbox.dir().join("go");
    let made = Command::new("mkfifo").arg(&pipe).status()?;
    ensure!(made.success(), "mkfifo ended with {made}");

    let key = keys::openai("sessions");
    let mut command = sandbox.command(&agent);
    command.args(["-c", AGENT]).arg(Runtime::Curl.exe()?).arg(&key).arg(&pipe).stdout(Stdio::null());
    let mut child = command.spawn()?;
    let pid = child.id();
    let status = child.wait()?;
    ensure!(status.success(), "the agent ended with {status}");
    let ours = |session: &&Session| {
        session.agent == "codex" && session.process.as_ref().is_some_and(|one| one.pid == pid)
    };
    let ended =
        |records: &[Record]| sessions(records).into_iter().filter(ours).any(|one| one.state == "ended");
    sensor.wait_for("the end of the session", SETTLE, ended)?;
    fs::write(&pipe, "go\n")?;
    let both = |records: &[Record]| calls(records).filter(|call| call.model_requested == MODEL).count() >= 2;
    sensor.wait_for("both calls", SETTLE, both)?;
    let truths = server.truth()?;
    let fingerprint = sensor.fingerprints([&key])?.remove(&key).context("no fingerprint")?;
    let stopped = sensor.stop()?;

    let told: Vec<_> = sessions(&stopped.records).into_iter().filter(ours).collect();
    let states: Vec<_> = told.iter().map(|one| (one.state.as_str(), one.calls, one.orphaned_calls)).collect();
    ensure!(states == [("started", 0, 0), ("ended", 1, 0), ("ended", 1, 1)], "{states:?}");
    let last = told.last().context("no session")?;
    ensure!(last.children >= 2, "only {} children", last.children);
    ensure!(last.credentials == [fingerprint.clone()], "{:?}", last.credentials);

    let calls: Vec<_> = stopped.calls().filter(|call| call.model_requested == MODEL).collect();
    ensure!(calls.len() == 2 && truths.len() == 2, "{} calls of {}", calls.len(), truths.len());
    ensure!(calls.iter().all(|call| call.session == last.id), "{calls:?}");
    ensure!((calls[0].orphaned, calls[1].orphaned) == (false, true), "{calls:?}");
    let ancestors = &calls[1].process.as_ref().context("no process")?.ancestors;
    ensure!(ancestors.iter().any(|one| one.pid == pid), "{ancestors:?}");
    let mut sum = 0;
    for (call, truth) in calls.iter().zip(&truths) {
        let cost = call.cost.as_ref().context("no cost")?;
        ensure!((cost.basis.as_str(), cost.currency.as_str()) == ("list_price", "USD"), "{cost:?}");
        ensure!(nano(&cost.amount)? == expected(truth)?, "{cost:?} for {truth:?}");
        sum += expected(truth)?;
    }

    let records = stopped.scratch.path().join("stdout.jsonl");
    for verb in [["cost", "--by", "key"], ["cost", "--by", "session"], ["cost", "--by", "model"]] {
        let rows = rows(&verb, &records)?;
        ensure!(rows.len() == 1, "{verb:?}: {rows:?}");
        let cost = rows[0]["cost_usd"].as_str().context("no cost")?;
        ensure!((nano(cost)?, rows[0]["calls"].as_u64()) == (sum, Some(2)), "{verb:?}: {rows:?}");
    }
    let keys = rows(&["keys"], &records)?;
    ensure!(keys.len() == 1 && keys[0]["fingerprint"] == fingerprint.as_str(), "{keys:?}");
    let orphaned = rows(&["sessions", "--orphaned"], &records)?;
    ensure!(orphaned.len() == 1 && orphaned[0]["session"] == last.id.as_str(), "{orphaned:?}");
    let coverage = rows(&["coverage"], &records)?;
    let joins = |name: &str| coverage.iter().find(|row| row["join"] == name).map(|row| row["calls"].clone());
    for (name, count) in [("session_closed", 1), ("session_orphaned", 1), ("identity", 2), ("credential", 2)]
    {
        ensure!(joins(name) == Some(count.into()), "{name}: {coverage:?}");
    }
    Ok(())
}
