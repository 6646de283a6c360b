//! The flow log of a real sensor that is killed again and again: complete, numbered once, readable by others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use flow_log::{Range, Reader, verify::verify};
use keywitness_tests::{
    client::{Client, Runtime},
    paths::Scratch,
    sandbox::{Network, Sandbox},
    sensor::{alone, command},
    server::Server,
    setup, wait,
};
use proto::v1::Record;

const KILLS: u32 = 5;
/// Time the sensor has to attach everything and record a call.
const PATIENCE: Duration = Duration::from_secs(40);

/// A sensor that is killed when dropped.
struct Running(Child);

impl Running {
    fn start(state: &Path, out: &Path) -> Result<Self> {
        let mut command = command("run", state)?;
        command.args(["-o", "json", "--status-interval", "1"]).stdin(Stdio::null());
        command.stdout(File::options().create(true).append(true).open(out)?);
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn logged(folder: &Path) -> Result<Vec<Record>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    Reader::open(folder)?.lines(Range::default())?.map(|line| Ok(line?.record()?)).collect()
}

/// Whole lines only: the last one of a killed sensor may be cut off.
fn printed(out: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(out)?;
    Ok(text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line.trim_end()).ok()).collect())
}

fn id(record: &Record) -> (String, u64) {
    record.sensor.as_ref().map(|sensor| (sensor.boot_id.clone(), sensor.seq)).unwrap_or_default()
}

#[test]
fn a_sensor_that_is_killed_loses_no_record_silently_and_uses_no_number_twice() -> Result<()> {
    setup::clients()?;
    let _alone = alone()?;
    let scratch = Scratch::new("flow-log")?;
    let (state, out) = (scratch.path().join("state"), scratch.path().join("out.jsonl"));
    let folder = state.join("log");
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    let key = client.key("flow log");
    for kill in 0..=KILLS {
        let before = logged(&folder)?.len();
        let mut sensor = Running::start(&state, &out)?;
        wait::until("a logged call", PATIENCE, || {
            ensure!(sensor.0.try_wait()?.is_none(), "the sensor ended by itself");
            client.run(&sandbox, None, &key, "gpt-5-mini")?;
            let calls =
                logged(&folder)?.iter().skip(before).filter(|record| record.kind == "model_call").count();
            Ok((calls > kill as usize % 3).then_some(()))
        })?;
    }
    check(&folder, &out)?;
    others_read(&folder)
}

fn check(folder: &Path, out: &Path) -> Result<()> {
    let report = verify(folder, None)?;
    ensure!(report.broken == 0, "{:?}", report.breaks);
    let mut printed_by_id = BTreeMap::new();
    for record in printed(out)? {
        let before = printed_by_id.insert(id(&record), record);
        ensure!(before.is_none(), "{:?} is used twice", before.as_ref().map(id));
    }
    let records = logged(folder)?;
    let gaps: Vec<_> = records.iter().filter_map(Record::status).flat_map(|status| &status.gaps).collect();
    ensure!(gaps.len() >= KILLS as usize, "{gaps:?}");
    let seen: BTreeSet<_> = records.iter().map(id).collect();
    ensure!(seen.len() == records.len(), "a record is there twice");
    for record in &records {
        if let Some(shown) = printed_by_id.get(&id(record)) {
            ensure!(shown == record, "{shown:?} was printed, {record:?} is in the log");
        }
    }
    let last = seen.last().map_or(0, |(_, seq)| *seq);
    for (boot, seq) in printed_by_id.keys().filter(|one| !seen.contains(*one) && one.1 <= last) {
        let told = gaps.iter().any(|gap| gap.boot_id == *boot && (gap.from_seq..=gap.to_seq).contains(seq));
        ensure!(told, "{seq} is missing and no gap tells so: {gaps:?}");
    }
    Ok(())
}

/// The number that a command prints.
fn number(command: &mut Command) -> Result<usize> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().with_context(|| format!("{command:?} says {text:?}"))
}

fn others_read(folder: &Path) -> Result<()> {
    let records = logged(folder)?.len();
    let files = format!("{}/*.jsonl.zst", folder.display());
    let jq = number(Command::new("sh").args(["-c", &format!("zstdcat {files} | jq .time | wc -l")]))?;
    ensure!(jq == records, "zstdcat and jq see {jq} of {records} records");
    let duckdb = format!(
        "import duckdb; print(duckdb.sql(\"select count(*) from read_json('{files}')\").fetchall()[0][0])"
    );
    let chdb = format!(
        "import chdb; print(chdb.query(\"select count() from file('{files}', 'JSONEachRow')\", 'CSV'))"
    );
    for (name, script) in [("DuckDB", duckdb), ("ClickHouse", chdb)] {
        let found = number(Command::new(setup::python()).args(["-c", &script]))?;
        ensure!(found == records, "{name} sees {found} of {records} records");
    }
    Ok(())
}
