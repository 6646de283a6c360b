//! What no single host can see: the detector of a tenant's whole fleet, and what is wrong with its sensors. Pure.
//!
//! What the collector itself saw (silence, gaps, two machines) becomes part of a `status` record of its own, and
//! that record goes through the detector like any other: so a replay of the collector's log gives the same findings.

use std::{collections::BTreeMap, sync::Arc};

use attribution::{detect::Detector, policy::Policy};
use proto::v1::{Finding, Record, SensorReport, Status, record::Body};

use crate::{intake::Gap, state::Stream};

/// What may be wrong with a sensor; names as in `SensorReport.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing came for a while.
    Silent,
    /// Records were left out, and the sensor did not say so.
    Gap,
    /// Records claim another host than the certificate.
    ForgedHost,
    /// A boot went on after the next one had begun.
    TwoMachines,
    /// Its clock and the collector's differ.
    Clock,
}

/// Hosts and kinds that wait to be reported.
const MAX_WAITING: usize = 4096;
/// Gaps that wait for the sensor's own word.
const MAX_GAPS: usize = 4096;
/// Time in which a sensor tells of a gap itself: after a kill its numbers jump, and its next `status` says so.
const GAP_PATIENCE_NS: u64 = 150_000_000_000;
/// Shortest time between two reports of one kind about one host.
const REPORT_EVERY_NS: u64 = 10_000_000_000;

impl Kind {
    /// Every kind, in the order of [`Fleet::seen`].
    pub const ALL: [Self; 5] = [Self::Silent, Self::Gap, Self::ForgedHost, Self::TwoMachines, Self::Clock];

    /// The name in records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Gap => "gap",
            Self::ForgedHost => "forged_host",
            Self::TwoMachines => "two_machines",
            Self::Clock => "clock",
        }
    }
}

/// One tenant's fleet.
pub struct Fleet {
    detector: Detector,
    /// Name and id of this collector: findings of others are not its own.
    host: String,
    id: String,
    since: u64,
    reports: BTreeMap<(String, Kind), Report>,
    gaps: Vec<Waiting>,
    seen: [u64; Kind::ALL.len()],
}

#[derive(Debug, Default)]
struct Report {
    detail: String,
    /// Seen and not reported yet.
    count: u64,
    first: u64,
    last: u64,
    reported: u64,
}

/// A gap that the sensor may still explain.
struct Waiting {
    host: String,
    boot_id: String,
    gap: Gap,
    since: u64,
}

impl Fleet {
    /// A fleet of which nothing is known, for the collector that writes as `host` with `id`, at `now` (nanoseconds
    /// since the epoch).
    pub fn new(policy: Arc<Policy>, host: &str, id: &str, now: u64) -> Self {
        Self {
            detector: Detector::new(policy),
            host: host.to_owned(),
            id: id.to_owned(),
            since: now,
            reports: BTreeMap::new(),
            gaps: Vec::new(),
            seen: Default::default(),
        }
    }

    /// How often each of [`Kind::ALL`] was noted since the start.
    pub fn seen(&self) -> [u64; Kind::ALL.len()] {
        self.seen
    }

    /// Judges by another policy from now on.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.detector.set_policy(policy);
    }

    /// Takes a stored record again after a restart.
    pub fn restore(&mut self, record: &Record) {
        if record.finding().is_none() || self.is_own(record) {
            self.detector.restore(record);
        }
    }

    /// Takes a record that was just stored; what it opens, changes or ends.
    pub fn record(&mut self, record: &Record) -> Vec<Finding> {
        if let (Some(Body::Status(status)), Some((host, _, _))) = (&record.body, record.place()) {
            self.gaps.retain(|one| {
                one.host != host
                    || !status.gaps.iter().any(|told| {
                        told.boot_id == one.boot_id
                            && told.from_seq <= one.gap.from
                            && (told.to_seq == 0 || told.to_seq >= one.gap.to)
                    })
            });
        }
        self.detector.record(record)
    }

    /// Notes something wrong with the sensor of a host, at `now`.
    pub fn suspect(&mut self, host: &str, kind: Kind, detail: String, now: u64) {
        for (count, _) in self.seen.iter_mut().zip(Kind::ALL).filter(|(_, one)| *one == kind) {
            *count += 1;
        }
        let key = (host.to_owned(), kind);
        if self.reports.len() >= MAX_WAITING && !self.reports.contains_key(&key) {
            return;
        }
        let report = self.reports.entry(key).or_default();
        if report.count == 0 {
            report.first = now;
        }
        report.count += 1;
        report.last = now;
        report.detail = detail;
    }

    /// Notes numbers that were skipped. It is reported unless the sensor tells of them soon.
    pub fn missing(&mut self, stream: &Stream, gap: Gap, now: u64) {
        if self.gaps.len() < MAX_GAPS {
            let (host, boot_id) = (stream.peer.host.clone(), stream.boot_id.clone());
            self.gaps.push(Waiting { host, boot_id, gap, since: now });
        }
    }

    /// The time is `now`: the findings that this opens, changes or ends.
    pub fn tick(&mut self, now: u64) -> Vec<Finding> {
        self.detector.tick(now)
    }

    /// A status record's body with what has to be reported now.
    pub fn reports(&mut self, now: u64) -> Option<Body> {
        let (due, waiting) =
            std::mem::take(&mut self.gaps).into_iter().partition(|one| now >= one.since + GAP_PATIENCE_NS);
        self.gaps = waiting;
        let due: Vec<Waiting> = due;
        for Waiting { host, gap, .. } in due {
            let detail = format!("numbers {} to {}", gap.from, gap.to);
            self.suspect(&host, Kind::Gap, detail, now);
        }
        let mut reports = Vec::new();
        for ((host, kind), report) in &mut self.reports {
            if report.count > 0 && now >= report.reported.saturating_add(REPORT_EVERY_NS) {
                reports.push(SensorReport {
                    host: host.clone(),
                    kind: kind.name().into(),
                    detail: std::mem::take(&mut report.detail),
                    count: std::mem::take(&mut report.count),
                    first_seen: report.first,
                    last_seen: report.last,
                });
                report.reported = now;
            }
        }
        self.reports
            .retain(|_, report| report.count > 0 || now < report.reported.saturating_add(REPORT_EVERY_NS));
        let status = Status { since: self.since, reports, ..Status::default() };
        (!status.reports.is_empty()).then_some(Body::Status(status))
    }

    fn is_own(&self, record: &Record) -> bool {
        record.place().is_some_and(|(host, boot, _)| host == self.host && boot == self.id)
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{self, Sensor};

    use super::*;
    use crate::peer::Peer;

    const S: u64 = 1_000_000_000;

    fn fleet() -> Fleet {
        Fleet::new(Arc::default(), "c", "id", 0)
    }

    fn reported(fleet: &mut Fleet, now: u64) -> Vec<(String, u64)> {
        match fleet.reports(now) {
            Some(Body::Status(status)) => status
                .reports
                .into_iter()
                .map(|one| (format!("{} {}", one.host, one.kind), one.count))
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn many_of_one_kind_are_one_report_and_the_next_comes_later() {
        let mut fleet = fleet();
        for _ in 0..3 {
            fleet.suspect("web-1", Kind::ForgedHost, "it".into(), 100 * S);
        }
        assert_eq!(reported(&mut fleet, 100 * S), [("web-1 forged_host".to_owned(), 3)]);
        fleet.suspect("web-1", Kind::ForgedHost, "it".into(), 101 * S);
        assert_eq!(reported(&mut fleet, 101 * S), []);
        assert_eq!(reported(&mut fleet, 110 * S), [("web-1 forged_host".to_owned(), 1)]);
        assert_eq!(reported(&mut fleet, 200 * S), []);
        assert!(fleet.reports.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn a_gap_is_reported_unless_the_sensor_tells_of_it() {
        let stream = Stream { peer: Peer::new("t", "web-1").unwrap(), boot_id: "b".into() };
        let (told, hidden) = (Gap { from: 5, to: 9 }, Gap { from: 20, to: 21 });
        let mut fleet = fleet();
        fleet.missing(&stream, told, 0);
        fleet.missing(&stream, hidden, 0);
        let gap = v1::Gap { boot_id: "b".into(), from_seq: 5, to_seq: 9, cause: "kill".into() };
        let mut status = Record::new(1, Body::Status(Status { gaps: vec![gap], ..Status::default() }));
        status.sensor = Some(Sensor { host: "web-1".into(), boot_id: "b".into(), seq: 10 });
        fleet.record(&status);
        assert_eq!(reported(&mut fleet, GAP_PATIENCE_NS - 1), []);
        assert_eq!(reported(&mut fleet, GAP_PATIENCE_NS), [("web-1 gap".to_owned(), 1)]);
    }

    #[test]
    fn findings_of_sensors_are_not_restored_as_the_collectors_own() {
        let mut fleet = fleet();
        let finding = Finding {
            id: "kwf-1".into(),
            rule: "shared-credential".into(),
            state: "open".into(),
            ..Finding::default()
        };
        let mut record = Record::new(5, Body::Finding(finding));
        record.sensor = Some(Sensor { host: "web-1".into(), boot_id: "b".into(), seq: 1 });
        fleet.restore(&record);
        assert_eq!(fleet.tick(10 * S), []);
        record.sensor = Some(Sensor { host: "c".into(), boot_id: "id".into(), seq: 1 });
        fleet.restore(&record);
        let ended = fleet.tick(20 * S);
        assert_eq!(ended.iter().map(|one| one.state.as_str()).collect::<Vec<_>>(), ["resolved"]);
    }
}
