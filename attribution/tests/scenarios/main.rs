//! Recorded stories with the findings that they have to give, and those that they must not.
//!
//! Each file holds scenarios; `script.rs` says how they are written. Every scenario also runs shuffled, with every
//! record twice, and in parts that are merged: the findings have to be the same.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail at once")]

mod script;

use std::{fs, path::Path};

use attribution::detect::{Detector, Severity};
use proto::v1::{Finding, Record};
use script::{File, Scenario, Story};

/// Least number of scenarios that the corpus has to have.
const LEAST: usize = 40;

fn scenarios() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            out.extend(file.scenario.into_iter().map(|one| (format!("{name}: {}", one.name), one)));
        }
    }
    out
}

fn end(story: &Story, detector: &mut Detector) -> Vec<Finding> {
    detector.tick(story.end);
    detector.findings()
}

fn all<'a>(story: &Story, records: impl IntoIterator<Item = &'a Record>) -> Vec<Finding> {
    let mut detector = Detector::new(story.policy.clone());
    records.into_iter().for_each(|record| drop(detector.record(record)));
    end(story, &mut detector)
}

/// A fixed disorder, a different one for every `seed`.
fn shuffled(records: &[Record], seed: u64) -> Vec<&Record> {
    let mut out: Vec<&Record> = records.iter().collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for at in (1..out.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.swap(at, (state % (at as u64 + 1)) as usize);
    }
    out
}

fn brief(findings: &[Finding]) -> Vec<String> {
    let mut all: Vec<String> =
        findings.iter().map(|one| format!("{} {}: {}", one.rule, one.severity, one.title)).collect();
    all.sort();
    all
}

#[test]
fn each_scenario_gives_its_findings_and_no_others() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= LEAST, "{} scenarios", scenarios.len());
    let mut wrong = Vec::new();
    for (name, scenario) in &scenarios {
        let story = scenario.story();
        let findings = all(&story, &story.records);
        let found = brief(&findings);
        let mut left = found.clone();
        for expected in &scenario.expect {
            let (head, text) = expected.split_once(": ").unwrap_or((expected, ""));
            match left.iter().position(|one| one.starts_with(&format!("{head}: ")) && one.contains(text)) {
                Some(at) => drop(left.remove(at)),
                None => wrong.push(format!("{name}\n  missing: {expected}\n  found: {found:#?}")),
            }
        }
        if !left.is_empty() {
            wrong.push(format!("{name}\n  not expected: {left:#?}"));
        }
        for finding in &findings {
            assert!(Severity::parse(&finding.severity).is_some() && !finding.next_step.is_empty(), "{name}");
            assert!(finding.first_seen <= finding.last_seen, "{name}: {finding:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn order_repetition_and_parts_do_not_matter() {
    for (name, scenario) in scenarios() {
        let story = scenario.story();
        let once = all(&story, &story.records);
        for seed in 1..4 {
            assert_eq!(all(&story, shuffled(&story.records, seed)), once, "{name}, shuffled");
        }
        let twice: Vec<&Record> = story.records.iter().chain(shuffled(&story.records, 9)).collect();
        assert_eq!(all(&story, twice), once, "{name}, repeated");
        let mut parts = [(); 3].map(|()| Detector::new(story.policy.clone()));
        for (at, record) in shuffled(&story.records, 5).into_iter().enumerate() {
            parts[at * 7 % 3].record(record);
        }
        let [mut whole, two, three] = parts;
        assert_eq!((whole.merge(three), whole.merge(two)), (0, 0), "{name}");
        assert_eq!(end(&story, &mut whole), once, "{name}, in parts");
    }
}

#[test]
fn what_is_told_on_the_way_ends_where_the_state_ends() {
    for (name, scenario) in scenarios() {
        let story = scenario.story();
        let mut detector = Detector::new(story.policy.clone());
        let mut open = std::collections::BTreeMap::new();
        let mut told = Vec::new();
        for record in &story.records {
            told.extend(detector.record(record));
        }
        // Everything that waits is looked at within a few ticks.
        for minute in 0..4 {
            told.extend(detector.tick(story.end + minute * 61_000_000_000));
        }
        for finding in told {
            let known = open.contains_key(&finding.id);
            match finding.state.as_str() {
                "open" => assert!(!known, "{name}: {} is opened twice", finding.title),
                _ => assert!(known, "{name}: {} was never opened", finding.title),
            }
            if finding.state == "resolved" {
                open.remove(&finding.id)
            } else {
                open.insert(finding.id.clone(), finding)
            };
        }
        let ids: Vec<String> = detector.findings().into_iter().map(|finding| finding.id).collect();
        assert_eq!(open.into_keys().collect::<Vec<_>>(), ids, "{name}");
    }
}

#[test]
fn a_restart_tells_nothing_twice() {
    for (name, scenario) in scenarios() {
        let story = scenario.story();
        let mut detector = Detector::new(story.policy.clone());
        let mut log = Vec::new();
        let mut tell = |detector: &mut Detector, record: &Record| {
            log.push(record.clone());
            for finding in detector.record(record) {
                log.push(Record::new(detector.now(), proto::v1::record::Body::Finding(finding)));
            }
        };
        story.records.iter().for_each(|record| tell(&mut detector, record));
        for minute in 0..4 {
            for finding in detector.tick(story.end + minute * 61_000_000_000) {
                log.push(Record::new(detector.now(), proto::v1::record::Body::Finding(finding)));
            }
        }
        let mut again = Detector::new(story.policy.clone());
        log.iter().for_each(|record| again.restore(record));
        let mut told = Vec::new();
        for minute in 4..8 {
            told.extend(again.tick(story.end + minute * 61_000_000_000));
        }
        assert_eq!(brief(&told), Vec::<String>::new(), "{name}");
        detector.tick(again.now());
        assert_eq!(brief(&again.findings()), brief(&detector.findings()), "{name}");
    }
}
