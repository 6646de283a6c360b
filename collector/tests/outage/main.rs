//! A collector that is away for an hour of records. Alone in its process, whose memory is measured.

#![expect(clippy::unwrap_used, reason = "a test may fail at once")]

#[path = "../fleet/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::sync::atomic::Ordering;

use support::{Collector, Host, acknowledged, now, peak_memory, wait};

const HOUR_NS: u64 = 3_600_000_000_000;
/// Twenty records a second: a busy host.
const RECORDS: u64 = 72_000;
/// Memory that sending may take: four batches of 1 MiB on their way, one that is made, and frames of the log. The
/// records of the hour have several times as many bytes.
const SENDER_BYTES: u64 = 24 * 1024 * 1024;
/// The same of the collector, with its detector, in a build that is not optimised.
const COLLECTOR_BYTES: u64 = 64 * 1024 * 1024;

#[test]
fn an_hour_without_a_collector_arrives_once_oldest_first_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    host.write(1, "a");
    wait("the first record", || (acknowledged(&uplink) == 1).then_some(()));
    collector.kill();
    wait("the outage is noticed", || (uplink.progress().failures.load(Ordering::Relaxed) > 0).then_some(()));
    let begin = now() - HOUR_NS;
    host.write_at(RECORDS, "a", |seq| begin + seq * (HOUR_NS / RECORDS));
    // The peak is counted anew from here on (proc(5), clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_memory("self");
    collector.start();
    let process = collector.process.as_ref().unwrap().id().to_string();
    let started = peak_memory(&process);
    wait("everything is acknowledged", || (acknowledged(&uplink) == RECORDS + 1).then_some(()));
    let (sender, receiver) = (peak_memory("self") - before, peak_memory(&process) - started);
    println!("peak memory: sender + {} KiB, collector + {} KiB", sender >> 10, receiver >> 10);
    assert!(sender < SENDER_BYTES, "the sender took {sender} bytes");
    assert!(receiver < COLLECTOR_BYTES, "the collector took {receiver} bytes");
    wait("no lag is left", || (uplink.progress().lag().as_secs() < 5).then_some(()));
    uplink.stop();
    let order: Vec<u64> = collector
        .stored()
        .iter()
        .filter_map(|record| record.place())
        .filter(|place| place.0 == "web-1")
        .map(|place| place.2)
        .collect();
    assert_eq!(order, (1..=RECORDS + 1).collect::<Vec<_>>());
    assert!(collector.findings("suspect-sensor").is_empty(), "{:?}", collector.findings("suspect-sensor"));
}
