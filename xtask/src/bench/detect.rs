//! Speed and memory of the detector, beside a GROUP BY of DuckDB over the same records.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Bench;
use super::rows::{Rows, Scratch, table};
use crate::shell::{say, text};
use crate::workspace;

/// The program that measures.
const EXAMPLE: [&str; 6] =
    ["--release", "--quiet", "--package", "keywitness-attribution", "--example", "detect_bench"];
/// Reads the log into memory, then counts by credential and workload; seconds of each as JSON.
const DUCKDB: &str = "
import duckdb, json, sys, time
db = duckdb.connect()
db.execute('SET threads = 1')
start = time.perf_counter()
db.execute('''CREATE TABLE calls AS SELECT model_call.credential.fingerprint AS key, model_call.workload.id AS workload,
  model_call.tokens.input + model_call.tokens.output AS tokens, epoch_ns(time) AS time FROM read_json(?, format = 'newline_delimited')
  WHERE kind = 'model_call' ''', [sys.argv[1]])
read = time.perf_counter()
rows = db.execute('''SELECT key, workload, count(*), sum(tokens), min(time), max(time) FROM calls GROUP BY key, workload''').fetchall()
group_s = time.perf_counter() - read
with open(sys.argv[1]) as log:
  lines = sum(1 for _ in log)
print(json.dumps({'records': lines, 'calls': db.execute('SELECT count(*) FROM calls').fetchone()[0], 'groups': len(rows),
  'read_s': read - start, 'group_s': group_s}))
";

/// Runs the measurement and prints its table.
pub(super) fn measure(_: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    run(rows)
}

/// The same, without anything that watches the kernel.
pub(super) fn run(rows: &mut Rows) -> Result<()> {
    say(format_args!("detect: building the measuring program"));
    let own = text(workspace::cargo("run").args(EXAMPLE))?;
    let own: Value = serde_json::from_str(own.trim()).context("the measuring program printed no JSON")?;
    rows.add(&json!({ "row": "detect", "result": own }))?;
    let rate = |value: &Value| format!("{:.2}", value.as_f64().unwrap_or(0.0) / 1e6);
    let line =
        |name: &str, from: &str| vec!["detector, 21 rules".to_owned(), rate(&own[name]), from.to_owned()];
    let mut lines = vec![
        line("fleet_records_per_second", "log of a fleet: 50 hosts, 1000 services, a call each ms"),
        line("host_records_per_second", "log of a host: 12 services, a call each 10 ms"),
        line("new_credentials_per_second", "worst case: each call with a credential never seen"),
    ];
    match duckdb() {
        Ok(peer) => {
            rows.add(&json!({ "row": "duckdb", "result": peer }))?;
            for (name, count, column, what) in [
                ("DuckDB GROUP BY", "calls", "group_s", "log of a fleet, its calls as columns in memory"),
                ("DuckDB read_json", "records", "read_s", "log of a fleet, JSON lines into those columns"),
            ] {
                let count = peer[count].as_f64().unwrap_or(0.0);
                let per_second = count / peer[column].as_f64().unwrap_or(f64::INFINITY);
                lines.push(vec![name.into(), format!("{:.2}", per_second / 1e6), what.into()]);
            }
        }
        Err(error) => say(format_args!("no DuckDB to compare with: {error:#}")),
    }
    println!("{}", table("Records a second on one core, millions", &["what", "M/s", "from"], &lines));
    let number = |name: &str| own[name].to_string();
    let memory = vec![
        vec!["credential".to_owned(), number("credentials"), number("bytes_per_credential")],
        vec!["principal".to_owned(), number("principals"), number("bytes_per_principal")],
    ];
    println!("{}", table("Memory of the detector", &["entry", "known", "bytes each"], &memory));
    Ok(())
}

fn duckdb() -> Result<Value> {
    // The clients of the tests bring it.
    let clients = workspace::target_dir().join("clients/venv/bin/python");
    let python = if clients.exists() { clients } else { "python3".into() };
    if !Command::new(&python).args(["-c", "import duckdb"]).output()?.status.success() {
        bail!("`cargo xtask setup --tests` installs it");
    }
    let folder = Scratch::new()?;
    let log = folder.path().join("records.jsonl");
    text(workspace::cargo("run").args(EXAMPLE).arg("--").arg("--log").arg(&log))?;
    let out = text(Command::new(&python).args(["-c", DUCKDB]).arg(&log))?;
    serde_json::from_str(out.trim()).context("DuckDB printed no JSON")
}
