//! What the collector says about sensors and about itself.

use proto::v1::{Batch, ingest_client::IngestClient};
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    block, connect, identity,
    support::{BOOT, Collector, call, now, wait},
};

/// Most that a clock may be off is 10 s.
const OFF_NS: u64 = 60_000_000_000;

#[test]
fn a_clock_that_is_off_is_told_and_the_records_are_stored() {
    for (sent, way) in [(now() + OFF_NS, "ahead"), (now() - OFF_NS, "behind")] {
        let folder = tempfile::tempdir().unwrap();
        let mut collector = Collector::init(folder.path(), &["web-1"]);
        collector.start();
        let line = serde_json::to_vec(&call("web-1", BOOT, 1, "a")).unwrap();
        let lines = zstd::bulk::compress(&line, 1).unwrap();
        let batch = Batch { boot_id: BOOT.into(), lines, sent };
        block(async {
            let mut client = IngestClient::new(connect(&collector, identity(&collector)).await.unwrap());
            let mut acks = client.ingest(tokio_stream::iter([batch])).await.unwrap().into_inner();
            assert_eq!(acks.message().await.unwrap().unwrap().stored, 1);
        });
        let report = wait("the report", || {
            let stored = collector.stored();
            let mut reports = stored.iter().filter_map(|record| record.status()).flat_map(|one| &one.reports);
            reports.find(|report| report.kind == "clock" && report.detail.contains(way)).cloned()
        });
        assert_eq!(report.host, "web-1");
        let finding = wait("the finding", || collector.findings("suspect-sensor").pop());
        assert!(finding.title.contains("web-1"), "{}", finding.title);
    }
}

/// The reflection service, which would tell everybody what can be called.
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// How gRPC says that there is no such service.
const UNIMPLEMENTED: &str = "grpc-status: 12";

#[test]
fn a_sensor_can_ask_whether_the_collector_serves_and_nothing_is_reflected() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::init(folder.path(), &["web-1"]);
    collector.start();
    block(async {
        let channel = connect(&collector, identity(&collector)).await.unwrap();
        let ask = |service: &str| Request::new(HealthCheckRequest { service: service.into() });
        let mut health = HealthClient::new(channel);
        for service in ["", "keywitness.v1.Ingest"] {
            let answer = health.check(ask(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        }
        assert_eq!(health.check(ask("keywitness.v1.Query")).await.unwrap_err().code(), Code::NotFound);
    });
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--http2", "-D", "-", "-H", "content-type: application/grpc", "-d", ""]);
    curl.arg("--cacert").arg(collector.pki().join("ca.pem"));
    for (option, file) in [("--cert", "sensor.pem"), ("--key", "sensor.key")] {
        curl.arg(option).arg(folder.path().join("sensors/web-1").join(file));
    }
    let answer = curl.arg(format!("{}{REFLECTION}", collector.endpoint())).output().unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains(UNIMPLEMENTED), "{answer}");
}
