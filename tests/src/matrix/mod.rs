//! Every client that can be had, each with calls of its own, and a table of what the sensor said of them.
//!
//! Each client calls twice as often as it has modes: once when its executable was never seen before, which is only
//! told, and once later, which is held against what the endpoint received.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Result;
use proto::v1::{Flow, Record, record::Body};

use crate::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    compare::{Comparison, Known, Who, compare},
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::{Protection, Server, Truth},
    setup,
};

mod rows;
mod table;

pub use rows::{agents, all};
pub use table::{document, terminal};

/// Time records have to arrive after the last call.
const SETTLE: Duration = Duration::from_secs(30);

/// Scripts whose TLS library is in a module of Python, with their mode (none: every one) and the folder of the module.
const MODULES: [(&str, &str, &str); 3] = [
    ("grpc_call.py", "", "grpc/_cython"),
    ("module_call.py", "curl_cffi", "curl_cffi"),
    ("module_call.py", "rnet", "rnet"),
];

/// What is shown where no flow names a method.
const UNNAMED: &str = "each process ended before it was looked at";

/// What is shown where there is no TLS.
const PACKETS: &str = "packets";

/// What the sensor is to say of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Its calls, read by this library and method.
    Read(&'static str),
    /// Its calls, read from packets: there is no TLS.
    Packets,
    /// Only its flows, with a reason that begins like this.
    Flow(&'static str),
}

/// One client.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What it is.
    pub name: &'static str,
    /// TLS library, and how it comes.
    pub stack: &'static str,
    runtime: Runtime,
    script: &'static str,
    provider: &'static str,
    modes: &'static [&'static str],
    /// How the endpoint protects its connections.
    protection: Protection,
    /// Program and arguments that print a version; an empty program is the client's own, no program prints none.
    version: &'static [&'static str],
    /// What is expected.
    pub expected: Expected,
}

/// What was found of one client.
#[derive(Debug)]
pub struct Outcome {
    /// The client.
    pub row: Row,
    /// Its version, or empty.
    pub version: String,
    /// Versions of HTTP that the endpoint saw.
    pub http: String,
    /// Method of reading, or why it is not read; empty if no flow was told.
    pub told: String,
    /// Calls that were right, of how many.
    pub right: (usize, usize),
    /// The same of the first calls.
    pub first: (usize, usize),
    /// What is not as expected, or empty.
    pub complaint: String,
}

/// One call that was made.
struct Made {
    row: usize,
    round: usize,
    who: Who,
}

/// Runs `rows`, one after the other, beside one sensor for each way of protection.
pub fn run(rows: &[Row]) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let alike = rest.iter().take_while(|row| row.protection == first.protection).count();
        let (now, later) = rest.split_at(alike);
        outcomes.extend(run_alike(now, first.protection)?);
        rest = later;
    }
    Ok(outcomes)
}

/// Runs rows that call one endpoint.
fn run_alike(rows: &[Row], protection: Protection) -> Result<Vec<Outcome>> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start_with(&sandbox, protection)?;
    let mut sensor = Sensor::start(&[])?;
    let cgroup = Cgroup::new("matrix")?;
    let mut made = HashMap::new();
    let mut failures = HashMap::new();
    for round in 0..2 {
        for (index, row) in rows.iter().enumerate() {
            if let Err(error) = row.call(index, round, &sandbox, &cgroup, &mut made) {
                failures.insert(index, format!("{error:#}"));
            }
        }
        for row in rows.iter().filter(|_| round == 0) {
            row.wait(&sensor);
        }
    }
    let truths = server.truth()?;
    let wanted: HashSet<&str> = truths
        .iter()
        .filter(|truth| made.get(&truth.key).is_some_and(|made| made.round == 1 && rows[made.row].is_read()))
        .map(|truth| truth.request_id.as_str())
        .collect();
    let complete = |records: &[_]| {
        calls(records).filter(|call| wanted.contains(call.request_id.as_str())).count() >= wanted.len()
    };
    // What is missing is told by the comparison.
    if let Err(error) = sensor.wait_for("a record of every call", SETTLE, complete) {
        eprintln!("{error:#}");
    }
    let fingerprints = sensor.fingerprints(made.keys())?;
    let stopped = sensor.stop()?;
    let known = Known { address: sandbox.address(), fingerprints: &fingerprints };
    let outcome = |(index, row): (usize, &Row)| {
        let told = Told { truths: &truths, records: &stopped.records, known: &known, made: &made };
        told.outcome(index, *row, failures.get(&index).map(String::as_str))
    };
    Ok(rows.iter().enumerate().map(outcome).collect())
}

impl Row {
    const fn is_read(&self) -> bool {
        matches!(self.expected, Expected::Read(_) | Expected::Packets)
    }

    /// One call in each mode.
    fn call(
        &self,
        index: usize,
        round: usize,
        sandbox: &Sandbox,
        cgroup: &Cgroup,
        made: &mut HashMap<String, Made>,
    ) -> Result<()> {
        for mode in self.modes {
            let Self { runtime, script, provider, .. } = *self;
            let client = Client { runtime, script, mode, provider };
            let key = client.key(&format!("matrix {index} {round} {mode}"));
            eprintln!("{}, {}: {mode}", self.name, self.stack);
            let finished = client.run(sandbox, Some(cgroup), &key, &format!("model-{mode}"))?;
            let who = Who { pid: finished.pid, exe: finished.exe, cgroup: Some(cgroup.name()) };
            made.insert(key, Made { row: index, round, who });
        }
        Ok(())
    }

    /// Waits until an executable with a TLS library of its own is probed: a large one takes longer than its first call,
    /// and one that ends at once may be gone before it is looked at.
    fn wait(&self, sensor: &Sensor) {
        let Expected::Read(method) = self.expected else { return };
        let module = MODULES.iter().find(|(script, mode, _)| {
            *script == self.script && (mode.is_empty() || self.modes.contains(mode))
        });
        let probed = if let Some((_, _, package)) = module {
            let module = self.runtime.program().and_then(|python| setup::python_module(&python, package));
            module.and_then(|module| sensor.wait_until_probed(&module, method, SETTLE))
        } else if self.stack.contains("shared") || !self.runtime.exe().is_ok_and(|exe| exe.is_file()) {
            // Libraries that others use, too, are probed from the start.
            Ok(())
        } else {
            sensor.probe(self.runtime, method, SETTLE)
        };
        if let Err(error) = probed {
            eprintln!("{}, {}: {error:#}", self.name, self.stack);
        }
    }

    fn version(&self) -> String {
        if let Runtime::Agent(name) = self.runtime {
            return setup::agent(name).map(|agent| agent.version().to_owned()).unwrap_or_default();
        }
        let Some((program, arguments)) = self.version.split_first() else { return String::new() };
        let own = self.runtime.program().unwrap_or_default();
        let program = if program.is_empty() { own.as_path() } else { Path::new(program) };
        let Ok(output) = Command::new(program).args(arguments).output() else { return String::new() };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let word = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
        let bare = |word| str::trim_start_matches(word, |c: char| c == 'v' || c == 'g' || c == 'o');
        text.split_whitespace().map(bare).find(word).unwrap_or_default().to_owned()
    }
}

/// Everything that is known after the run.
struct Told<'a> {
    truths: &'a [Truth],
    records: &'a [Record],
    known: &'a Known<'a>,
    made: &'a HashMap<String, Made>,
}

impl Told<'_> {
    fn outcome(&self, index: usize, row: Row, failure: Option<&str>) -> Outcome {
        let [first, later] = [0, 1].map(|round| self.compare(index, round));
        let http: BTreeSet<&str> = self
            .truths
            .iter()
            .filter(|truth| self.made.get(&truth.key).is_some_and(|made| made.row == index))
            .map(|truth| truth.http.as_str())
            .collect();
        let flows = self.flows(index);
        let complaint = match (failure, row.expected) {
            (Some(failure), _) => format!("not run: {failure}"),
            (None, Expected::Read(method)) => read(&later, &flows, method),
            (None, Expected::Packets) => read(&later, &flows, ""),
            (None, Expected::Flow(reason)) => told(&later, &flows, reason, row.modes.len()),
        };
        let tls = flows.iter().filter_map(|flow| flow.tls.as_ref());
        let told = tls.map(|tls| if tls.coverage == "none" { &tls.coverage_reason } else { &tls.method });
        Outcome {
            version: row.version(),
            http: http.into_iter().collect::<Vec<_>>().join(", "),
            told: told.filter(|told| !told.is_empty()).max().cloned().unwrap_or_else(|| match row.expected {
                Expected::Packets => PACKETS.to_owned(),
                _ => UNNAMED.to_owned(),
            }),
            right: (later.right, later.requests),
            first: (first.right, first.requests),
            complaint,
            row,
        }
    }

    /// The records of a row's calls of one round against its truths.
    fn compare(&self, index: usize, round: usize) -> Comparison {
        let own = |key: &str| self.made.get(key).filter(|made| made.row == index && made.round == round);
        let truths: Vec<Truth> =
            self.truths.iter().filter(|truth| own(&truth.key).is_some()).cloned().collect();
        let ids: HashSet<&str> = truths.iter().map(|truth| truth.request_id.as_str()).collect();
        let pids: HashSet<u32> = truths.iter().filter_map(|truth| Some(own(&truth.key)?.who.pid)).collect();
        let ours = |record: &&Record| match &record.body {
            Some(Body::ModelCall(call)) => {
                ids.contains(call.request_id.as_str())
                    || call.process.as_ref().is_some_and(|process| pids.contains(&process.pid))
            }
            _ => false,
        };
        let records: Vec<Record> = self.records.iter().filter(ours).cloned().collect();
        compare(&truths, &records, self.known, |truth| Some(own(&truth.key)?.who.clone()))
    }

    /// Flows of a row's later calls.
    fn flows(&self, index: usize) -> Vec<&Flow> {
        let pids: HashSet<u32> = self
            .made
            .values()
            .filter(|made| made.row == index && made.round == 1)
            .map(|made| made.who.pid)
            .collect();
        let ours = |flow: &&Flow| flow.process.as_ref().is_some_and(|process| pids.contains(&process.pid));
        self.records.iter().filter_map(flow).filter(ours).collect()
    }
}

fn flow(record: &Record) -> Option<&Flow> {
    match &record.body {
        Some(Body::Flow(flow)) => Some(flow),
        _ => None,
    }
}

/// What is wrong with calls that are to be read by `method`, or without TLS.
fn read(calls: &Comparison, flows: &[&Flow], method: &str) -> String {
    if let Err(error) = calls.require(0.0) {
        return format!("{error:#}");
    }
    let told: HashSet<&str> =
        flows.iter().filter_map(|flow| Some(flow.tls.as_ref()?.method.as_str())).collect();
    // A process that ended before it could be looked at has no method in its flow.
    match told.iter().find(|told| !told.is_empty() && **told != method) {
        Some(other) => format!("read by {other} instead of {method}"),
        None => String::new(),
    }
}

/// What is wrong with calls of which only the flows are to be told, `count` of them.
fn told(calls: &Comparison, flows: &[&Flow], reason: &str, count: usize) -> String {
    let good = |flow: &&&Flow| {
        let tls = flow.tls.as_ref().filter(|tls| tls.coverage == "none");
        tls.is_some_and(|tls| tls.coverage_reason.starts_with(reason))
            && flow.endpoint.as_ref().is_some_and(|endpoint| !endpoint.provider.is_empty())
    };
    let good = flows.iter().filter(good).count();
    if good < count {
        return format!("{good} of {count} flows have the reason {reason}");
    }
    calls.wrong.first().cloned().unwrap_or_default()
}
