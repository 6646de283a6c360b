//! `status` records: loss, hooks and tables.

use proto::v1::{Gauge, HookState, Loss, Status};
use sensor_common::{cause, kind};

use super::{Sensor, SensorError};
use crate::{bpf::Losses, tls::policy::Policy};

/// Name of the gauge of events that wait in the ring; its limit is the ring's size in bytes.
pub(super) const IN_FLIGHT: &str = "events_in_flight";

impl Losses {
    /// Events that never reached the ring. Shortened sequences are not among them.
    fn lost_events(&self) -> u64 {
        let counted = |cause: usize| cause != cause::OVER_LIMIT as usize;
        let each = self.lost.iter().map(|causes| {
            causes.iter().enumerate().filter(|(cause, _)| counted(*cause)).map(|(_, lost)| lost).sum::<u64>()
        });
        each.sum()
    }

    fn produced_events(&self) -> u64 {
        self.produced.iter().sum()
    }
}

impl Sensor {
    /// Events made and not lost that the reader has not taken yet.
    pub(super) fn in_flight(&self) -> Result<u64, SensorError> {
        let losses = self.tables.losses()?;
        let known = self.delivered.iter().sum::<u64>() + losses.lost_events();
        Ok(losses.produced_events().saturating_sub(known))
    }

    pub(super) fn status_body(&self, last: bool) -> Result<Status, SensorError> {
        Ok(self.status_of(&self.tables.losses()?, last))
    }

    pub(super) fn status_of(&self, losses: &Losses, last: bool) -> Status {
        let delivered = self.delivered.iter().sum::<u64>();
        let (mut lost, mut shortened) = (Vec::new(), Vec::new());
        for (kind, causes) in losses.lost.iter().enumerate() {
            for (cause, count) in causes.iter().enumerate().filter(|(_, count)| **count > 0) {
                let told = if cause == cause::OVER_LIMIT as usize { &mut shortened } else { &mut lost };
                told.push(Loss {
                    kind: kind::NAMES[kind].into(),
                    cause: cause::NAMES[cause].into(),
                    count: *count,
                });
            }
        }
        let counts = self.attribution.counts();
        let policy = self.policy.as_ref().map_or(self.probed, Policy::counts);
        let skipped = [
            ("event", "malformed", self.malformed),
            ("payload", "malformed", counts.malformed),
            ("payload", "out_of_order", counts.out_of_order),
            ("connection", "table_full", counts.connections_refused),
            ("flow", "table_full", counts.flows_refused),
            ("process", "table_full", counts.processes_evicted),
            ("session", "table_full", counts.sessions_refused),
            ("cost", "model_without_price", counts.unpriced_model),
            ("cost", "service_tier_without_price", counts.unpriced_tier),
            ("probe", "attach_failed", policy.failed),
            ("probe", "limit", policy.refused),
            ("probe", "lost_and_given_again", policy.lost),
            ("identity_question", "queue_full", self.watch.unasked()),
            ("credential_file", "opener_unknown", counts.openers_unknown),
            ("origin", "table_full", counts.holders_refused),
        ];
        let gauges = [
            ("processes", counts.processes, attribution::identity::process::MAX_PROCESSES),
            ("flows", counts.flows, attribution::flow::MAX_FLOWS),
            ("connections", counts.connections, attribution::pipeline::MAX_CONNECTIONS),
            ("sessions", counts.sessions, attribution::session::MAX_SESSIONS),
            ("cgroups", counts.cgroups, attribution::identity::workload::MAX_CGROUPS),
            ("identities", counts.identities, attribution::identity::workload::MAX_SUBJECTS),
            ("origins", counts.holders, attribution::credential::MAX_HOLDERS),
            ("probed_files", policy.files, sensor_common::tls::MAX_TARGETS as usize),
            ("probed_files_limited", policy.demoted, sensor_common::tls::MAX_TARGETS as usize),
        ];
        let in_flight = losses.produced_events().saturating_sub(delivered + losses.lost_events());
        Status {
            since: self.since_ns,
            produced: losses.produced_events(),
            delivered,
            lost,
            hooks: self.hook_states(),
            calls: counts.calls,
            calls_unbound: counts.calls_unbound,
            flows: counts.flows_model,
            flows_plaintext: counts.flows_plaintext,
            skipped: skipped
                .into_iter()
                .chain(self.unread.all().map(|(cause, count)| ("credential", cause, count)))
                .filter(|(.., count)| *count > 0)
                .map(|(kind, cause, count)| Loss { kind: kind.into(), cause: cause.into(), count })
                .chain(shortened)
                .collect(),
            tables: gauges
                .into_iter()
                .map(|(name, value, limit)| Gauge { name: name.into(), value, limit: limit as u64 })
                .chain([Gauge {
                    name: IN_FLIGHT.into(),
                    value: in_flight,
                    limit: u64::from(self.options.ring_bytes),
                }])
                .collect(),
            last,
            gaps: Vec::new(),
            sources: self.watch.told(),
            reports: Vec::new(),
        }
    }

    fn hook_states(&self) -> Vec<HookState> {
        self.loaded
            .states
            .iter()
            .map(|state| HookState {
                name: state.hook.program.into(),
                state: if state.failure.is_none() { "attached" } else { "missing" }.into(),
                lost: state.failure.as_ref().map(|_| state.hook.lost.into()).unwrap_or_default(),
                reason: state.failure.clone().unwrap_or_default(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortened_sequences_are_no_lost_events() {
        let mut losses = Losses::default();
        losses.produced[0] = 10;
        losses.lost[0] = [1, 2, 3, 100];
        assert_eq!((losses.produced_events(), losses.lost_events()), (10, 6));
    }
}
