//! A writer that is killed at any moment loses nothing that it said was durable, and tells what is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use flow_log::{
    Boot, Range, Reader,
    storage::Disk,
    verify::verify,
    writer::{Now, Options, Thread, Writer},
};
use proto::v1::{Flow, Record, Sensor, record::Body};

const KILLS: u64 = 200;
const BOOT: &str = "70f33f75-5292-40cb-8ee1-433011488d54";
/// Names the folder to the child, which is this very program.
const FOLDER: &str = "KEYWITNESS_KILL_TEST_FOLDER";

fn options() -> Options {
    Options { commit_records: 20, commit_ns: 2_000_000, segment_bytes: 20_000, ..Options::default() }
}

fn line(seq: u64) -> Vec<u8> {
    let flow = Flow { id: format!("flow {}", seq.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ..Default::default() };
    let mut record = Record::new(seq, Body::Flow(Box::new(flow)));
    record.sensor = Some(Sensor { host: "h".into(), boot_id: BOOT.into(), seq });
    let mut line = serde_json::to_vec(&record).unwrap();
    line.push(b'\n');
    line
}

/// Writes without end. Says where its numbers begin, which gaps were found, and what is durable.
fn child(folder: &Path) {
    let start = Instant::now();
    let now = || {
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap();
        Now { steady_ns: ns, calendar_ns: ns }
    };
    let disk = Disk::open(folder).unwrap();
    let packer = Box::new(Thread::start().unwrap());
    let (mut writer, recovery) = Writer::open(disk, packer, options(), Boot::parse(BOOT), now()).unwrap();
    // No line of the test harness may come between.
    let mut out = std::io::stderr();
    writeln!(out, "start {}", recovery.next_seq).unwrap();
    for gap in recovery.gaps {
        writeln!(out, "gap {} {} {}", gap.from, gap.to.unwrap(), gap.cause).unwrap();
    }
    let mut told = 0;
    for seq in recovery.next_seq.. {
        writer.push(&line(seq), seq, seq, now());
        writer.tick(now());
        assert!(writer.gaps().is_empty() && writer.failure().is_none());
        if let Some((_, durable)) = writer.durable().filter(|(_, durable)| *durable > told) {
            told = durable;
            writeln!(out, "durable {durable}").unwrap();
        }
    }
}

/// What all children said.
#[derive(Default)]
struct Said {
    /// First and last durable number of each run.
    runs: Vec<(u64, u64)>,
    gaps: Vec<(u64, u64)>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (what, mut numbers) = (words.next().unwrap(), words.map_while(|word| word.parse::<u64>().ok()));
        match (what, numbers.next()) {
            ("start", Some(first)) => {
                let before = self.runs.last().map_or(0, |(_, durable)| *durable);
                assert!(first > before, "numbers are used twice: {first} after {before}");
                self.runs.push((first, first - 1));
            }
            ("gap", Some(from)) => self.gaps.push((from, numbers.next().unwrap())),
            ("durable", Some(durable)) => self.runs.last_mut().unwrap().1 = durable,
            _ => panic!("the writer says: {line}"),
        }
    }
}

/// The next whole line: the last words of one that is killed may be cut off.
fn line_of(words: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    words.read_line(&mut line).unwrap();
    line.strip_suffix('\n').map(str::to_owned)
}

#[test]
fn nothing_durable_is_lost_by_200_kills() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for kill in 0..KILLS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["nothing_durable_is_lost_by_200_kills", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = BufReader::new(writer.stderr.take().unwrap());
        said.hear(&line_of(&mut words).expect("the writer starts after every kill"));
        // Killed after so much time or so many commits, whatever the machine does.
        let (begun, life) = (Instant::now(), Duration::from_micros(kill * 7919 % 25_000));
        let enough = kill % 23;
        let mut commits = 0;
        while begun.elapsed() < life || commits < enough {
            let line = line_of(&mut words).unwrap();
            commits += u64::from(line.starts_with("durable"));
            said.hear(&line);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        while let Some(line) = line_of(&mut words) {
            said.hear(&line);
        }
    }
    check(folder.path(), &said);
}

fn check(folder: &Path, said: &Said) {
    let disk = Disk::open(folder).unwrap();
    let packer = Box::new(Thread::start().unwrap());
    let (writer, recovery) =
        Writer::open(disk, packer, options(), Boot::parse(BOOT), Now::default()).unwrap();
    assert!(writer.close(Now::default()));
    let report = verify(folder, None).unwrap();
    assert_eq!(report.broken, 0, "{:?}", report.breaks);
    let mut read = BTreeMap::new();
    for item in Reader::open(folder).unwrap().lines(Range::default()).unwrap() {
        let item = item.unwrap();
        assert_eq!(item.bytes(), line(item.seq).trim_ascii());
        assert!(read.insert(item.seq, ()).is_none(), "{} is there twice", item.seq);
    }
    let mut gaps = said.gaps.clone();
    gaps.extend(recovery.gaps.iter().map(|gap| (gap.from, gap.to.unwrap())));
    for (first, durable) in &said.runs {
        assert!((*first..=*durable).all(|seq| read.contains_key(&seq)), "{first} to {durable} was durable");
    }
    let mut next = 1;
    for end in read.keys().copied().chain([recovery.next_seq]) {
        // Gaps cover everything from `next` to the record.
        while next < end
            && let Some((_, to)) = gaps.iter().find(|(from, to)| (from..=to).contains(&&next))
        {
            next = to + 1;
        }
        assert!(next >= end, "{next} to {} are missing untold", end - 1);
        next = end + 1;
    }
    assert!(read.len() as u64 > KILLS, "{} records", read.len());
}
