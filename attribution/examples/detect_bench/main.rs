//! How fast the detector is and how much it remembers; run by `cargo xtask bench detect`.
//!
//! Prints one JSON object. `--log FILE` writes the records of a fleet as JSON lines instead, for another program to
//! count; `--fleet` measures nothing but these, for a profiler.

mod mix;

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    sync::Arc,
};

use attribution::detect::Detector;
use mix::{Mix, START};
use proto::v1::{
    Ancestor, Cost, Credential, Endpoint, ModelCall, Process, Record, Sensor, Tokens, Workload, record::Body,
};
use rustix::time::{ClockId, clock_gettime};

/// Records that are made, then taken by the detector, at once: as those of a batch that was just read.
const TOGETHER: u64 = 100;
/// Records of each measurement of speed.
const RECORDS: u64 = 1_000_000;
/// A fleet: hosts, services, and nanoseconds between two calls.
const FLEET: (u64, u64, u64) = (50, 1000, 1_000_000);
/// One host.
const HOST: (u64, u64, u64) = (1, 12, 10_000_000);
/// Records of the log that other programs count.
const LOG_RECORDS: usize = 200_000;
/// Credentials and principals of the measurement of memory, and nanoseconds between its records.
const CREDENTIALS: u64 = 1_000_000;
const PRINCIPALS: u64 = 100_000;
const STEP: u64 = 1_000;

/// The record of a call, with another principal and another credential for each number up to these.
fn record(index: u64, principals: u64, credentials: u64) -> Record {
    let place = index % principals;
    let call = ModelCall {
        flow_id: format!("{}", index % 20_000),
        binding: "client_random".into(),
        operation: "chat".into(),
        model_requested: if index.is_multiple_of(3) { "gpt-5" } else { "gpt-5-mini" }.into(),
        status: Some(200),
        tokens: Some(Tokens { input: Some(100 + index % 4000), output: Some(200), ..Tokens::default() }),
        cost: Some(Cost { amount: "0.00123".into(), currency: "USD".into(), ..Cost::default() }),
        session: format!("s-{}", place % 5000),
        process: Some(Process {
            pid: 1000 + place as u32,
            start_time: START,
            exe: "/usr/bin/agent".into(),
            uid: Some(0),
            cgroup: format!("/system.slice/agent-{place}.service"),
            ancestors: vec![Ancestor { pid: 1, start_time: 1, exe: "/usr/lib/systemd/systemd".into() }],
            ..Process::default()
        }),
        workload: Some(Workload {
            id: format!("systemd://host-{}/agent-{place}.service", place % 100),
            kind: "systemd".into(),
            name: format!("agent-{place}.service"),
            ..Workload::default()
        }),
        credential: Some(Credential {
            fingerprint: format!("kw1-a1b2c3d4-{:026}", index % credentials),
            provider: "openai".into(),
            kind: "api_key".into(),
            lifetime: "static".into(),
            hint: "sk-proj-…abcd".into(),
            carrier: "header:authorization".into(),
            evidence: "wire".into(),
            ..Credential::default()
        }),
        endpoint: Some(Endpoint {
            provider: "openai".into(),
            host: "api.openai.com".into(),
            host_evidence: "http_host".into(),
            address: "203.0.113.7".into(),
            port: 443,
            ..Endpoint::default()
        }),
        ..ModelCall::default()
    };
    let mut record = Record::new(START, Body::ModelCall(Box::new(call)));
    record.sensor = Some(Sensor { host: format!("host-{}", index % 8), boot_id: "boot".into(), seq: 0 });
    record
}

/// Gives the records of a batch the numbers and times that follow, `step` nanoseconds apart.
fn renumber(batch: &mut [Record], from: u64, step: u64) {
    for (index, record) in (from..).zip(batch) {
        record.time = START + index * step;
        if let Some(sensor) = &mut record.sensor {
            sensor.seq = index / 8;
        }
    }
}

fn rss_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Processor time of this thread, nanoseconds: what others run does not count. Asking for it costs less than a
/// microsecond; `/proc/thread-self/schedstat` costs ten, and is only as exact as the clock tick.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Records a second of processor time for records that `next` makes; findings told.
fn speed(mut next: impl FnMut() -> Record) -> (f64, u64) {
    let mut detector = Detector::new(Arc::default());
    let (mut spent, mut findings) = (0, 0);
    for _ in 0..RECORDS / TOGETHER {
        let batch: Vec<Record> = (0..TOGETHER).map(|_| next()).collect();
        let start = cpu_ns();
        for record in &batch {
            findings += detector.record(record).len() as u64;
        }
        spent += cpu_ns().saturating_sub(start);
    }
    (RECORDS as f64 * 1e9 / spent as f64, findings)
}

fn mix((hosts, services, step): (u64, u64, u64)) -> impl FnMut() -> Record {
    let mut mix = Mix::new(hosts, services, step);
    move || mix.next().unwrap_or_default()
}

/// Each record with a credential that was never seen: the worst that can come.
fn new_credentials() -> impl FnMut() -> Record {
    let mut index = 0;
    move || {
        let mut one = [record(index, FLEET.1, u64::MAX)];
        renumber(&mut one, index, FLEET.2);
        index += 1;
        let [one] = one;
        one
    }
}

/// Bytes of resident memory for a principal and for a credential used by one of them.
fn memory() -> (u64, u64, [usize; 3]) {
    let mut detector = Detector::new(Arc::default());
    let before = rss_kib();
    // Principals first, all with one credential; then a credential each.
    for index in 0..PRINCIPALS {
        let mut one = [record(index, PRINCIPALS, 1)];
        renumber(&mut one, index, STEP);
        detector.record(&one[0]);
    }
    let principals = rss_kib();
    for index in 0..CREDENTIALS {
        let mut one = [record(index, PRINCIPALS, CREDENTIALS)];
        renumber(&mut one, PRINCIPALS + index, STEP);
        detector.record(&one[0]);
    }
    let credentials = rss_kib();
    let known = detector.known();
    let each = |from: u64, to: u64, count: u64| to.saturating_sub(from) * 1024 / count;
    (each(before, principals, PRINCIPALS), each(principals, credentials, CREDENTIALS), known)
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, path] = arguments.as_slice()
        && flag == "--log"
    {
        let mut out = BufWriter::new(File::create(path)?);
        let (hosts, services, step) = FLEET;
        for record in Mix::new(hosts, services, step).take(LOG_RECORDS) {
            serde_json::to_writer(&mut out, &record)?;
            out.write_all(b"\n")?;
        }
        return out.flush();
    }
    // For a profiler.
    if let [_, flag] = arguments.as_slice()
        && flag == "--fleet"
    {
        println!("{}", speed(mix(FLEET)).0.round());
        return Ok(());
    }
    let (per_principal, per_credential, [credentials, principals, sessions]) = memory();
    let rss = rss_kib();
    let (fleet, fleet_findings) = speed(mix(FLEET));
    let (host, host_findings) = speed(mix(HOST));
    let (new, _) = speed(new_credentials());
    println!(
        "{}",
        serde_json::json!({
            "fleet_records_per_second": fleet.round(),
            "host_records_per_second": host.round(),
            "new_credentials_per_second": new.round(),
            "records": RECORDS,
            "fleet_findings": fleet_findings,
            "host_findings": host_findings,
            "bytes_per_principal": per_principal,
            "bytes_per_credential": per_credential,
            "credentials": credentials,
            "principals": principals,
            "sessions": sessions,
            "rss_kib": rss,
        })
    );
    Ok(())
}
