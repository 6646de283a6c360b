//! Exports, read by the tools that they are for.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    paths::{self, Scratch},
    setup,
};
use serde_json::Value;

/// Columns of FOCUS 1.3 that are mandatory and must not be null, from its "Columns" chapter.
const FOCUS_NOT_NULL: [&str; 15] = [
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
];

fn fixture() -> PathBuf {
    paths::repository().join("tests/fixtures/records.jsonl")
}

fn script(name: &str) -> Command {
    let mut command = Command::new(setup::python());
    command.arg(paths::repository().join("tests/clients").join(name));
    command
}

fn export(arguments: &[&str]) -> Result<Output> {
    let output = Command::new(paths::keywitness()?)
        .args(["export", "--input-file"])
        .arg(fixture())
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

fn json(text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text).with_context(|| String::from_utf8_lossy(text).into_owned())
}

#[test]
fn duckdb_reads_the_parquet_file() -> Result<()> {
    setup::python_clients()?;
    let scratch = Scratch::new("parquet")?;
    let file = scratch.path().join("records.parquet");
    export(&["--format", "parquet", "--output", &file.display().to_string()])?;
    let output = script("read_parquet.py").arg(&file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = json(&output.stdout)?;
    assert_eq!(read["rows"], 6);
    assert_eq!(read["kinds"][0], "model_call");
    let call = serde_json::json!([
        1200,
        34,
        "0.012300",
        "k8s://prod/shop/deployment/web",
        "kw1-abcd-q7k3xyzq7k3xyzq7k3xyzq7k3x",
        true,
        true,
        "2023-11-14T22:13:20"
    ]);
    assert_eq!(read["call"], call);
    assert_eq!(read["inside"], "shared-credential");
    assert!(read["types"]["time"].as_str().is_some_and(|kind| kind.starts_with("TIMESTAMP")), "{read}");
    Ok(())
}

#[test]
fn an_independent_otlp_receiver_takes_logs_and_metrics_both_ways() -> Result<()> {
    setup::python_clients()?;
    let mut receiver = script("otlp_receiver.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(receiver.stdout.take().context("no output")?).lines();
    let ports = json(lines.next().context("the receiver did not start")??.as_bytes())?;
    for (protocol, semconv, tokens) in [
        ("grpc", "genai-1.41", "gen_ai.client.token.usage"),
        ("http", "genai-dev", "gen_ai.client.inference.usage.input_tokens"),
    ] {
        let endpoint = format!("http://127.0.0.1:{}", ports[protocol]);
        export(&["--format", "otlp", "--endpoint", &endpoint, "--protocol", protocol, "--semconv", semconv])?;
        let logs = json(lines.next().context("no logs")??.as_bytes())?;
        assert_eq!((&logs["by"], &logs["signal"]), (&protocol.into(), &"logs".into()));
        let records = &logs["request"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        assert_eq!(records.as_array().map(Vec::len), Some(6), "{records}");
        assert_eq!(records[0]["eventName"], "keywitness.model_call");
        assert_eq!(attribute(&records[0], "gen_ai.usage.input_tokens")["intValue"], "1200");
        assert_eq!(attribute(&records[0], "gen_ai.provider.name")["stringValue"], "openai");
        let metrics = json(lines.next().context("no metrics")??.as_bytes())?;
        let metrics = &metrics["request"]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        let names: Vec<&Value> =
            metrics.as_array().into_iter().flatten().map(|metric| &metric["name"]).collect();
        assert!(names.contains(&&Value::from(tokens)), "{names:?}");
    }
    drop(receiver.stdin.take());
    receiver.wait()?;
    Ok(())
}

fn attribute<'a>(record: &'a Value, name: &str) -> &'a Value {
    let attributes = record["attributes"].as_array().into_iter().flatten();
    attributes
        .into_iter()
        .find(|attribute| attribute["key"] == name)
        .map_or(&Value::Null, |found| &found["value"])
}

#[test]
fn findings_are_valid_for_a_published_ocsf_library() -> Result<()> {
    setup::python_clients()?;
    let events = export(&["--format", "ocsf"])?.stdout;
    let mut reader = script("read_ocsf.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    reader.stdin.take().context("no input")?.write_all(&events)?;
    let output = reader.wait_with_output()?;
    ensure!(output.status.success(), "the library refuses the finding");
    assert_eq!(
        json(&output.stdout)?,
        serde_json::json!(["shared-credential:kw1-abcd-q7k3xyzq7k3xyzq7k3xyzq7k3x", "High", "Create"])
    );
    Ok(())
}

#[test]
fn focus_rows_have_every_mandatory_value() -> Result<()> {
    let text = String::from_utf8(export(&["--format", "focus"])?.stdout)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().context("no header")?.split(',').collect();
    let row = cells(lines.next().context("no row")?);
    assert_eq!(row.len(), names.len());
    for name in FOCUS_NOT_NULL {
        let at =
            names.iter().position(|known| *known == name).with_context(|| format!("no column {name}"))?;
        assert!(!row[at].is_empty(), "{name} is empty");
    }
    assert!(lines.next().is_none());
    Ok(())
}

/// Cells of a line without line ends inside (RFC 4180).
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for char in line.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            char => {
                if let Some(cell) = cells.last_mut() {
                    cell.push(char);
                }
            }
        }
    }
    cells
}

#[test]
fn json_lines_come_out_as_they_went_in() -> Result<()> {
    assert_eq!(
        String::from_utf8(export(&["--format", "jsonl"])?.stdout)?,
        std::fs::read_to_string(fixture())?
    );
    Ok(())
}
