//! A real collector process, real gRPC over loopback, real certificates.

#![expect(clippy::unwrap_used, reason = "a test may fail at once")]

mod disk;
mod floods;
mod kills;
mod questions;
mod reports;
mod scrapes;
mod support;

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use collector::{authority::Authority, peer::Peer};
use proto::v1::{Batch, ingest_client::IngestClient};
use support::{Collector, Host, acknowledged, call, now, rest, wait};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use uplink::Uplink;

#[test]
fn one_key_on_two_hosts_is_one_finding_that_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1", "web-2"]);
    collector.start();
    let mut hosts = [Host::of(&collector, "web-1"), Host::of(&collector, "web-2")];
    let uplinks = [hosts[0].send(), hosts[1].send()];
    hosts[0].write(3, "shared");
    wait("the first host is heard", || (acknowledged(&uplinks[0]) == 3).then_some(()));
    assert!(collector.findings("shared-credential").is_empty());
    let begin = Instant::now();
    hosts[1].write(3, "shared");
    let finding = wait("the finding", || collector.findings("shared-credential").pop());
    let took = begin.elapsed();
    println!("from the second host's call to the finding: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let named: BTreeSet<&str> = finding.participants.iter().map(|one| one.host.as_str()).collect();
    assert_eq!(named, BTreeSet::from(["web-1", "web-2"]));
    assert_eq!(finding.severity, "high");
    // A restart tells nothing twice.
    let told = || collector_findings(&collector);
    let before = told();
    collector.kill();
    collector.start();
    hosts[0].write(1, "shared");
    wait("the host is heard again", || (acknowledged(&uplinks[0]) == 4).then_some(()));
    assert_eq!(collector_findings(&collector), before);
    questions::over_http(&collector);
    block(questions::over_grpc(&collector));
}

/// Ids of findings, as often as they were told as new.
fn collector_findings(collector: &Collector) -> Vec<String> {
    let stored = collector.stored();
    let open = stored.iter().filter_map(|record| record.finding().filter(|finding| finding.state == "open"));
    open.map(|finding| finding.id.clone()).collect()
}

#[test]
fn a_claim_of_another_host_is_refused_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1", "web-2"]);
    collector.start();
    let pki = folder.path().join("sensors/web-1");
    let mut liar =
        Host::new("web-2", &folder.path().join("liar"), support::BOOT, &pki, vec![collector.endpoint()]);
    let uplink = liar.send();
    liar.write(5, "a");
    let finding = wait("the finding", || collector.findings("suspect-sensor").pop());
    assert!(finding.title.contains("web-1") && finding.title.contains("`web-2`"), "{}", finding.title);
    assert_eq!(finding.severity, "high");
    wait("the sensor is told", || {
        uplink.progress().error().contains("certificate is for `web-1`").then_some(())
    });
    assert!(collector.numbers("web-2").is_empty() && collector.numbers("web-1").is_empty());
}

#[test]
fn two_machines_with_one_certificate_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    let send = |boot: &'static str, seq: u64| {
        let line = serde_json::to_vec(&call("web-1", boot, seq, "a")).unwrap();
        let lines = zstd::bulk::compress(&line, 1).unwrap();
        let batch = Batch { boot_id: boot.into(), lines, sent: now() };
        let tls = identity(&collector);
        block(async {
            let mut client = IngestClient::new(connect(&collector, tls).await.unwrap());
            let mut acks = client.ingest(tokio_stream::iter([batch])).await.unwrap().into_inner();
            assert_eq!(acks.message().await.unwrap().unwrap().stored, 1);
        });
    };
    let other = "80f33f75-5292-40cb-8ee1-433011488d54";
    for (boot, seq) in [(support::BOOT, 1), (other, 1), (support::BOOT, 2)] {
        send(boot, seq);
    }
    let finding = wait("the finding", || collector.findings("suspect-sensor").pop());
    assert!(finding.title.contains("two machines with one certificate"), "{}", finding.title);
}

#[test]
fn a_silent_sensor_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]).with("--silent-after=1");
    collector.start();
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    host.write(1, "a");
    wait("it is heard", || (acknowledged(&uplink) == 1).then_some(()));
    let finding = wait("the finding", || collector.findings("suspect-sensor").pop());
    assert!(finding.title.contains("web-1 sends nothing"), "{}", finding.title);
}

#[test]
fn certificates_that_are_foreign_expired_or_missing_are_refused() {
    let (folder, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    Collector::init(foreign.path(), &["web-1"]);
    let ca = || Certificate::from_pem(std::fs::read(collector.pki().join("ca.pem")).unwrap());
    let expired = folder.path().join("expired");
    let peer = Peer::new("default", "web-1").unwrap();
    Authority::open(&collector.pki()).unwrap().sensor(&peer, 0, &expired).unwrap();
    let made = now();
    wait("the certificate is over", || (now() > made + 1_500_000_000).then_some(()));
    let of = |pki: &std::path::Path| {
        let read = |name: &str| std::fs::read(pki.join(name)).unwrap();
        let identity = tonic::transport::Identity::from_pem(read("sensor.pem"), read("sensor.key"));
        ClientTlsConfig::new().ca_certificate(ca()).identity(identity)
    };
    let refused = [
        ("missing", ClientTlsConfig::new().ca_certificate(ca())),
        ("foreign", of(&foreign.path().join("sensors/web-1"))),
        ("expired", of(&expired)),
    ];
    for (what, tls) in refused {
        let result = block(async {
            // In TLS 1.3 a client learns only with its first request that it is refused.
            let mut client =
                IngestClient::new(connect(&collector, tls).await.map_err(|error| error.to_string())?);
            let batches = tokio_stream::iter([Batch::default()]);
            let acks = client.ingest(batches).await.map_err(|status| status.to_string())?;
            acks.into_inner().message().await.map_err(|status| status.to_string())
        });
        let error = result.expect_err(what);
        assert!(!error.contains("names no boot"), "{what}: {error}");
    }
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    host.write(2, "a");
    wait("the good one is served", || (acknowledged(&uplink) == 2).then_some(()));
}

/// A collector and a host of which it has the first record.
fn heard(folder: &Path) -> (Collector, Host, Uplink) {
    let mut collector = Collector::init(folder, &["web-1"]);
    collector.start();
    let mut host = Host::of(&collector, "web-1");
    let uplink = host.send();
    host.write(1, "a");
    wait("it is heard", || (acknowledged(&uplink) == 1).then_some(()));
    (collector, host, uplink)
}

#[test]
fn garbage_and_half_handshakes_leave_others_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, mut host, uplink) = heard(folder.path());
    let mut open = Vec::new();
    for turn in 0..300_u32 {
        let mut stream = TcpStream::connect(collector.address()).unwrap();
        let bytes: Vec<u8> = (0..512).map(|at| u8::try_from((turn * 31 + at * 7) % 256).unwrap()).collect();
        // The collector may have closed it already.
        drop(match turn % 3 {
            0 => stream.write_all(&bytes),
            1 => stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
            // A TLS record that promises more than ever comes.
            _ => stream.write_all(&[0x16, 3, 1, 0x3f, 0xff, 1, 0]),
        });
        open.push(stream);
    }
    host.write(100, "a");
    wait("the sensor goes on", || (acknowledged(&uplink) == 101).then_some(()));
    assert!(collector.is_running());
    // All are closed, those too that never said anything more.
    for stream in &mut open {
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        rest(stream);
    }
    host.write(1, "a");
    wait("the sensor goes on", || (acknowledged(&uplink) == 102).then_some(()));
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn identity(collector: &Collector) -> ClientTlsConfig {
    let read = |path: &str| std::fs::read(collector.folder.join(path)).unwrap();
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("pki/ca.pem"))).identity(
        tonic::transport::Identity::from_pem(
            read("sensors/web-1/sensor.pem"),
            read("sensors/web-1/sensor.key"),
        ),
    )
}

async fn connect(collector: &Collector, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    Channel::from_shared(collector.endpoint()).unwrap().tls_config(tls)?.connect().await
}

#[test]
fn the_next_collector_is_tried_when_one_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    let pki = folder.path().join("sensors/web-1");
    let endpoints = vec!["https://127.0.0.1:1".to_owned(), collector.endpoint()];
    let mut host = Host::new("web-1", &folder.path().join("host"), support::BOOT, &pki, endpoints);
    host.write(7, "a");
    let uplink = host.send();
    wait("the other one takes it", || (acknowledged(&uplink) == 7).then_some(()));
    assert!(uplink.progress().error().contains("cannot connect"), "{}", uplink.progress().error());
}

#[test]
fn new_certificates_are_used_on_both_sides_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, mut host, uplink) = heard(folder.path());
    // Another authority: old and new certificates do not fit together.
    std::fs::remove_dir_all(collector.pki()).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    Authority::create(&collector.pki()).unwrap().server(&names, 1).unwrap();
    collector.command(&["issue", "web-1"]);
    wait("the sensor connects again", || (!uplink.progress().error().is_empty()).then_some(()));
    host.write(1, "a");
    wait("it is heard", || (acknowledged(&uplink) == 2).then_some(()));
    assert!(collector.is_running());
}
