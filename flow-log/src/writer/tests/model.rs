//! Whatever happens to the file system and whenever, the promises of the log hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Cursor},
    path::Path,
};

use proptest::prelude::*;
use proto::v1::{self, Record, Status, record::Body};

use super::sim::{Fault, Sim};
use crate::{
    frame::{Boot, Kind},
    segment,
    verify::Check,
    walk::{Step, Walk},
    writer::{Gap, MAX_WAITING_RECORDS, Now, Options, Pack, Writer},
};

const CASES: u32 = 10_000;

#[derive(Debug, Clone)]
enum Action {
    /// So many records, each with so many bytes.
    Push(u8, u16),
    /// So many milliseconds pass.
    Pass(u16),
    Commit,
    /// The process is killed: what it wrote stays with the kernel.
    Kill,
    /// Power is lost, and the host boots again.
    Crash,
    /// The process stops in order and starts again.
    Restart,
    Fault(Fault),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (1..8_u8, 0..400_u16).prop_map(|(count, bytes)| Action::Push(count, bytes)),
        6 => (1..200_u16).prop_map(Action::Pass),
        2 => Just(Action::Commit),
        1 => Just(Action::Kill),
        1 => Just(Action::Crash),
        1 => Just(Action::Restart),
        1 => Just(Action::Fault(Fault::None)),
        1 => (0..3000_usize).prop_map(|left| Action::Fault(Fault::Full(left))),
        1 => Just(Action::Fault(Fault::ReadOnly)),
        1 => (1..80_u64).prop_map(|percent| Action::Fault(Fault::Io(percent))),
    ]
}

/// Quick compression for small batches.
#[derive(Default)]
struct Quick(Option<io::Result<Vec<u8>>>);

impl Pack for Quick {
    fn start(&mut self, raw: Vec<u8>) {
        self.0 = Some(zstd::bulk::compress(&raw, 1));
    }

    fn finished(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.0.take()
    }
}

type Id = (Boot, u64);

/// What the world knows of the log.
struct Model {
    sim: Sim,
    writer: Option<Writer<Sim>>,
    options: Options,
    boots: u8,
    next_seq: u64,
    now: Now,
    pushed: BTreeMap<Id, Vec<u8>>,
    durable: BTreeSet<Id>,
    gaps: Vec<Gap>,
    /// Gaps that recovery found, and the record that tells of each.
    told: Vec<(Id, Gap)>,
    /// Whether the storage ever failed.
    faulty: bool,
}

impl Model {
    fn new(seed: u64, repack: bool, retain: bool) -> Self {
        let options = Options {
            commit_records: 6,
            segment_bytes: 1500,
            retain_bytes: if retain { 10_000 } else { u64::MAX },
            repack,
            ..Options::default()
        };
        let mut model = Self {
            sim: Sim::new(seed),
            writer: None,
            options,
            boots: 1,
            next_seq: 1,
            now: Now { steady_ns: 1, calendar_ns: 1 },
            pushed: BTreeMap::new(),
            durable: BTreeSet::new(),
            gaps: Vec::new(),
            told: Vec::new(),
            faulty: false,
        };
        model.start();
        model
    }

    fn boot(&self) -> Boot {
        Boot::of([self.boots; 16])
    }

    fn start(&mut self) {
        let (boot, now) = (self.boot(), self.now);
        let opened =
            Writer::open(self.sim.clone(), Box::new(Quick::default()), self.options.clone(), boot, now);
        let (writer, recovery) = opened.expect("recovery works whenever the log can be read");
        for gap in &recovery.gaps {
            let told = self.told.iter().find(|(id, told)| self.durable.contains(id) && told == gap);
            assert_eq!(told, None, "told once more");
            // Without a fault nothing is missing but what was reserved.
            assert!(self.faulty || gap.cause == "unclean_stop", "{gap:?}");
        }
        self.gaps.extend(recovery.gaps.iter().cloned());
        let used = self.pushed.keys().filter(|(one, _)| *one == boot).map(|(_, seq)| *seq).max();
        assert!(recovery.next_seq > used.unwrap_or_default(), "number {used:?} would be used twice");
        self.next_seq = recovery.next_seq;
        self.writer = Some(writer);
        self.check(false);
        self.verify();
        self.tell(recovery.gaps);
    }

    /// A record that tells of gaps, as who writes the log has to.
    fn tell(&mut self, gaps: Vec<Gap>) {
        if gaps.is_empty() {
            return;
        }
        let told = gaps.iter().map(|gap| v1::Gap {
            boot_id: gap.boot.to_string(),
            from_seq: gap.from,
            to_seq: gap.to.unwrap_or_default(),
            cause: gap.cause.into(),
        });
        let status = Status { gaps: told.collect(), ..Status::default() };
        let mut line = serde_json::to_vec(&Record::new(1, Body::Status(status))).unwrap();
        line.push(b'\n');
        let id = (self.boot(), self.next_seq);
        self.told.extend(gaps.iter().map(|gap| (id, gap.clone())));
        self.push_line(line);
    }

    fn push(&mut self, bytes: u16) {
        let (boots, seq) = (self.boots, self.next_seq);
        let filler = "x".repeat(bytes.into());
        self.push_line(format!("{{\"boot\":{boots},\"seq\":{seq},\"text\":\"{filler}\"}}\n").into_bytes());
    }

    fn push_line(&mut self, line: Vec<u8>) {
        let (boot, seq) = (self.boot(), self.next_seq);
        self.next_seq += 1;
        let now = self.now;
        let writer = self.writer.as_mut().unwrap();
        writer.push(&line, seq, now.calendar_ns, now);
        self.pushed.insert((boot, seq), line);
        self.note();
    }

    /// Sees what became durable and which gaps are told.
    fn note(&mut self) {
        let writer = self.writer.as_mut().unwrap();
        if let Some((boot, durable)) = writer.durable() {
            let gaps: Vec<Gap> = self.gaps.clone();
            let in_gap = |seq: u64| {
                gaps.iter()
                    .any(|gap| gap.boot == boot && gap.from <= seq && gap.to.is_none_or(|to| seq <= to))
            };
            let ids = self.pushed.range((boot, 0)..=(boot, durable)).map(|(id, _)| *id);
            self.durable.extend(ids.filter(|(_, seq)| !in_gap(*seq)));
        }
        self.gaps.extend(writer.gaps());
    }

    fn pass(&mut self, ms: u16) {
        for _ in 0..ms.div_ceil(25) {
            self.now.steady_ns += 25_000_000;
            self.now.calendar_ns += 25_000_000;
            let now = self.now;
            self.writer.as_mut().unwrap().tick(now);
            self.note();
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Push(count, bytes) => (0..*count).for_each(|_| self.push(*bytes)),
            Action::Pass(ms) => self.pass(*ms),
            Action::Commit => {
                let now = self.now;
                self.writer.as_mut().unwrap().commit(now);
                self.note();
            }
            Action::Kill => {
                self.writer = None;
                self.sim.set_fault(Fault::None);
                self.start();
            }
            Action::Crash => {
                self.writer = None;
                self.sim.crash();
                self.boots += 1;
                self.start();
            }
            Action::Restart => {
                self.writer.take().unwrap().close(self.now);
                self.sim.set_fault(Fault::None);
                self.start();
            }
            Action::Fault(fault) => {
                self.faulty = true;
                self.sim.set_fault(*fault);
            }
        }
    }

    /// The segments in order.
    fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let files = self.sim.files().into_iter();
        let mut segments: Vec<_> =
            files.filter_map(|(name, bytes)| Some((segment::number(name.as_ref())?, bytes))).collect();
        segments.sort_unstable();
        segments
    }

    /// Every byte, hash and index is as it was written, frame after frame in one chain.
    fn verify(&self) {
        let mut check = Check::new(None);
        for (number, bytes) in self.segments() {
            let length = bytes.len() as u64;
            check.segment(number, Path::new(&segment::name(number)), Cursor::new(bytes), length).unwrap();
        }
        assert_eq!(check.report.broken, 0, "{:?}", check.report.breaks);
    }

    /// The log as a reader sees it.
    fn read(&self) -> Vec<(Id, Vec<u8>)> {
        let mut found = Vec::new();
        for (_, bytes) in self.segments() {
            let mut walk = Walk::new(Cursor::new(bytes));
            loop {
                match walk.next(|_| true).unwrap() {
                    Step::End => break,
                    Step::Damaged { .. } => {}
                    Step::Frame { header, data, .. } if header.kind == Kind::Batch => {
                        let raw = header.unpack(&data.unwrap()).unwrap();
                        let lines = raw.split_inclusive(|byte| *byte == b'\n');
                        let numbers = header.first..=header.last;
                        assert_eq!(numbers.clone().count() as u64, u64::from(header.count));
                        found.extend(
                            numbers.zip(lines).map(|(seq, line)| ((header.boot, seq), line.to_vec())),
                        );
                    }
                    Step::Frame { .. } => {}
                }
            }
        }
        found
    }

    /// `live` when records may still wait.
    fn check(&self, live: bool) {
        let found = self.read();
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, none twice");
        for (id, line) in &found {
            assert_eq!(self.pushed.get(id), Some(line), "as it was given");
        }
        let oldest = found.first().map(|(id, _)| *id);
        let found: BTreeSet<Id> = found.into_iter().map(|(id, _)| id).collect();
        let removed =
            |id: &Id| self.options.retain_bytes < u64::MAX && oldest.is_none_or(|oldest| *id < oldest);
        for id in &self.durable {
            assert!(found.contains(id) || removed(id), "{id:?} was durable and is lost");
        }
        if live {
            return;
        }
        for id @ (boot, seq) in self.pushed.keys().filter(|id| !found.contains(id) && !removed(id)) {
            let told = self
                .gaps
                .iter()
                .any(|gap| gap.boot == *boot && gap.from <= *seq && gap.to.is_none_or(|to| *seq <= to));
            assert!(told, "{id:?} is missing and no gap tells so: {:?}", self.gaps);
        }
    }

    /// With the faults gone the log works again without a restart.
    fn heals(&mut self) {
        self.sim.set_fault(Fault::None);
        self.pass(1500);
        self.push(10);
        self.pass(1500);
        let writer = self.writer.as_ref().unwrap();
        assert_eq!(writer.failure(), None);
        assert_eq!(writer.durable(), Some((self.boot(), self.next_seq - 1)));
        self.check(true);
        self.verify();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_through_crashes_and_faults(
        seed: u64,
        repack: bool,
        retain: bool,
        actions in prop::collection::vec(action(), 1..20),
    ) {
        let mut model = Model::new(seed, repack, retain);
        for action in &actions {
            model.act(action);
        }
        model.heals();
        model.act(&Action::Crash);
        model.heals();
    }
}

#[test]
fn whatever_ends_the_writer_between_two_steps_of_a_rewriting_the_chain_goes_on() {
    for end in [Action::Kill, Action::Restart, Action::Crash] {
        let mut most = 0;
        for steps in 0..20 {
            let mut model = Model::new(1, true, false);
            (0..60).for_each(|_| model.push(100));
            model.pass(steps * 25);
            model.act(&end);
            (0..60).for_each(|_| model.push(100));
            model.pass(1000);
            model.check(true);
            model.verify();
            most = most.max(model.segments().len());
        }
        assert!(most > 1, "{end:?}");
    }
}

#[test]
fn a_full_disk_costs_the_newest_records_and_says_so_at_both_ends() {
    let mut model = Model::new(1, true, false);
    model.push(10);
    model.pass(200);
    model.sim.set_fault(Fault::Full(0));
    (0..MAX_WAITING_RECORDS + 5).for_each(|_| model.push(0));
    let begun = model.gaps.last().unwrap().clone();
    assert_eq!((begun.cause, begun.to), ("storage_full", None));
    assert_eq!(begun.from, 2 + MAX_WAITING_RECORDS as u64);
    model.sim.set_fault(Fault::None);
    model.pass(2000);
    model.push(0);
    let ended = model.gaps.last().unwrap().clone();
    assert_eq!(ended, Gap { to: Some(begun.from + 4), ..begun });
    model.pass(200);
    model.check(true);
}
