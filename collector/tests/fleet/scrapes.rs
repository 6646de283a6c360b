//! Metrics of a running collector, against what its log has.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::support::{BOOT, Collector, Host, acknowledged, wait};

/// The page, which is whole.
fn page(collector: &Collector) -> String {
    let mut stream = TcpStream::connect(collector.metrics_address()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("# EOF\n"), "{answer}");
    answer
}

/// The sum of the samples of a metric whose labels contain `labels`.
fn sum(page: &str, metric: &str, labels: &str) -> f64 {
    let name = format!("keywitness_collector_{metric}");
    let samples = page.lines().filter_map(|line| line.strip_prefix(&name)?.rsplit_once(' '));
    let own = samples.filter(|(of, _)| (of.is_empty() || of.starts_with('{')) && of.contains(labels));
    own.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

#[test]
fn metrics_agree_with_what_was_stored_found_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1", "web-2"]).with("--metrics=127.0.0.1:0");
    collector.start();
    let mut hosts = [Host::of(&collector, "web-1"), Host::of(&collector, "web-2")];
    let uplinks = [hosts[0].send(), hosts[1].send()];
    for (host, uplink) in hosts.iter_mut().zip(&uplinks) {
        host.write(20, "shared");
        wait("it is heard", || (acknowledged(uplink) == 20).then_some(()));
    }
    // Everything again, which is stored already.
    hosts[0].forget_place();
    let again = hosts[0].send();
    wait("it comes again", || (acknowledged(&again) == 20).then_some(()));
    wait("the finding", || collector.findings("shared-credential").pop());
    let liar = folder.path().join("liar");
    let pki = folder.path().join("sensors/web-1");
    let mut liar = Host::new("web-2", &liar, BOOT, &pki, vec![collector.endpoint()]);
    let _lies = liar.send();
    liar.write(1, "a");
    let page = wait("the lie is counted", || {
        Some(page(&collector)).filter(|page| sum(page, "batches_refused_total", "forged_host") > 0.0)
    });
    for (metric, labels, value) in [
        ("records_total", "tenant=\"default\"", 40.0),
        ("duplicates_total", "tenant=\"default\"", 20.0),
        ("missing_records_total", "tenant=\"default\"", 0.0),
        ("calls_total", "workload=\"systemd://web-1/web-1-agent.service\"", 20.0),
        ("calls_total", "provider=\"openai\"", 40.0),
        ("findings_total", "rule=\"shared-credential\",severity=\"high\"", 1.0),
        ("sensors", "state=\"heard\"", 2.0),
        ("sensors", "state=\"silent\"", 0.0),
        ("storage_failing", "", 0.0),
    ] {
        assert_eq!(sum(&page, metric, labels), value, "{metric} {labels}:\n{page}");
    }
    assert!(
        sum(&page, "ack_seconds_count", "") >= 3.0 && sum(&page, "record_bytes_total", "") > 40.0,
        "{page}"
    );
    assert!(sum(&page, "log_bytes", "") > 0.0 && sum(&page, "log_segment_records", "") >= 40.0, "{page}");
    assert!(!page.contains("kw1-test"), "no fingerprint:\n{page}");
    assert!(!page.split(|one: char| !one.is_ascii_digit()).any(|number| number == "77"), "no pid:\n{page}");
}
