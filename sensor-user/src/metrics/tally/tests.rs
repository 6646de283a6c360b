use proto::v1::Status;

use super::*;
use crate::export::samples;

fn text(tally: &Tally) -> String {
    let mut page = Page::new(table::METRICS);
    tally.fill(&mut page);
    page.text().unwrap()
}

fn gap(from_seq: u64, to_seq: u64) -> Record {
    let gap = Gap { boot_id: "b".into(), from_seq, to_seq, cause: "queue_full".into() };
    Record::new(1, Body::Status(Status { gaps: vec![gap], ..Default::default() }))
}

#[test]
fn a_gap_counts_once_although_its_begin_and_its_end_are_told() {
    let tally = Tally::default();
    for record in [gap(5, 0), gap(5, 9), gap(20, 21)] {
        tally.count(&record);
    }
    let text = text(&tally);
    assert!(text.contains("keywitness_log_gaps_total{cause=\"queue_full\"} 2.0\n"), "{text}");
    assert!(text.contains("keywitness_log_missing_records_total{cause=\"queue_full\"} 7.0\n"), "{text}");
}

#[test]
fn no_label_holds_a_pid_or_a_fingerprint_of_real_records() {
    let tally = Tally::default();
    let records = samples::all();
    records.iter().for_each(|record| tally.count(record));
    let text = text(&tally);
    assert!(text.contains("keywitness_calls_total{"), "{text}");
    for record in &records {
        for fingerprint in record.fingerprints() {
            assert!(!text.contains(fingerprint), "{fingerprint}");
        }
        for pid in record.processes().map(|process| process.pid.to_string()) {
            assert!(!text.split(|one: char| !one.is_ascii_digit()).any(|number| number == pid), "{pid}");
        }
    }
}
