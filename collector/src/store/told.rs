//! What the store itself has to tell: findings, and sensors that are silent. Passing time is part of it.

use std::time::{Duration, Instant};

use proto::v1::{Finding, record::Body};

use super::writer::{TICK, Writer};
use crate::{
    archive::{Archive as _, calendar},
    fleet::Kind,
    peer::Peer,
};

/// How often silent sensors are reported.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A sensor that is silent for so long was taken away.
pub(super) const GONE_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// Records of the collector itself that wait while a tenant's log cannot be written; what comes then is found
/// again after a restart.
const MAX_UNTOLD: usize = 4096;

impl Writer {
    /// Writes records of the collector itself, and shows them to the detector as well. What cannot be written is
    /// tried again with the next tick.
    pub(super) fn tell(&mut self, tenant: &str, mut bodies: Vec<Body>) {
        while !bodies.is_empty() {
            let told = match self.archive.append_own(tenant, calendar(), &bodies) {
                Ok(told) => told,
                Err(error) => {
                    tracing::error!(tenant, %error, "findings are not stored yet");
                    let untold = self.untold.entry(tenant.to_owned()).or_default();
                    bodies.truncate(MAX_UNTOLD.saturating_sub(untold.len()));
                    untold.append(&mut bodies);
                    return;
                }
            };
            bodies.clear();
            for record in &told {
                if let Some(finding) = record.finding() {
                    announce(tenant, finding);
                }
                self.stored.entry(tenant.to_owned()).or_default().tally.count(record);
                bodies.extend(self.fleet(tenant).record(record).into_iter().map(Body::Finding));
            }
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self) {
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        self.archive.tick();
        let now = calendar();
        let silent_after = self.settings.silent_after;
        // After a start every sensor has time to come back.
        if self.beat.elapsed() >= HEARTBEAT.min(silent_after) && self.started.elapsed() >= silent_after {
            self.beat = Instant::now();
            self.silent(now);
        }
        let mut told = Vec::new();
        for (tenant, fleet) in &mut self.fleets {
            let mut bodies = self.untold.remove(tenant).unwrap_or_default();
            bodies.extend(fleet.tick(now).into_iter().map(Body::Finding));
            bodies.extend(fleet.reports(now));
            told.push((tenant.clone(), bodies));
        }
        for (tenant, bodies) in told {
            self.tell(&tenant, bodies);
        }
    }

    pub(super) fn silent_after_ns(&self) -> u64 {
        u64::try_from(self.settings.silent_after.as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long nothing came from each sensor, nanoseconds.
    pub(super) fn silences(&self, now: u64) -> impl Iterator<Item = (&Peer, u64)> {
        self.intake.sensors().into_iter().map(move |(peer, last)| (peer, now.saturating_sub(last)))
    }

    fn silent(&mut self, now: u64) {
        let gone = self.silent_after_ns()..GONE_NS;
        let silent: Vec<(Peer, u64)> = self
            .silences(now)
            .filter(|(_, silence)| gone.contains(silence))
            .map(|(peer, silence)| (peer.clone(), silence))
            .collect();
        for (peer, silence) in silent {
            let detail = format!("for {} s", silence / 1_000_000_000);
            self.fleet(&peer.tenant).suspect(&peer.host, Kind::Silent, detail, now);
        }
    }
}

fn announce(tenant: &str, finding: &Finding) {
    let Finding { id, rule, severity, title, state, .. } = finding;
    tracing::info!(tenant, id, rule, severity, state, "{title}");
}
