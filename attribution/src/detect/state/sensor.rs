//! What is known of one boot of one sensor.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::v1::Status;

use super::Waits;
use super::seen::Seen;
use super::span::Mark;

/// Status records kept of one sensor, the latest.
const MAX_STATUSES: usize = 64;
/// Causes of loss and missing hooks kept of one status.
const MAX_DETAILS: usize = 32;

/// One boot of a sensor.
#[derive(Debug, Default)]
pub(in crate::detect) struct Sensor {
    /// Host name.
    pub(in crate::detect) host: Arc<str>,
    /// Boot id.
    pub(in crate::detect) boot_id: Arc<str>,
    /// Records taken.
    pub(in crate::detect) seen: Seen,
    /// The latest statuses by sequence number.
    pub(in crate::detect) statuses: BTreeMap<u64, Health>,
    /// Its latest record.
    pub(in crate::detect) last: u64,
    /// Whether it waits to be looked at.
    pub(in crate::detect) waits: Waits,
}

/// What a status record says of the sensor's health.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct Health {
    /// When.
    pub(in crate::detect) time: u64,
    /// When the sensor started.
    pub(in crate::detect) since: u64,
    /// Events made since.
    pub(in crate::detect) produced: u64,
    /// Events lost since, with cause.
    pub(in crate::detect) lost: Vec<(String, u64)>,
    /// Hooks that are missing, and what is not seen without them.
    pub(in crate::detect) missing: Vec<(String, String)>,
    /// Records that were numbered and are gone.
    pub(in crate::detect) gaps: u64,
}

impl Sensor {
    /// Takes a status record.
    pub(in crate::detect) fn status(&mut self, mark: Mark, status: &Status) {
        let named = |kind: &str, cause: &str| format!("{kind} ({cause})");
        let lost = status.lost.iter().filter(|loss| loss.count > 0).take(MAX_DETAILS);
        let missing = status.hooks.iter().filter(|hook| hook.state == "missing").take(MAX_DETAILS);
        let health = Health {
            time: mark.time,
            since: status.since,
            produced: status.produced,
            lost: lost.map(|loss| (named(&loss.kind, &loss.cause), loss.count)).collect(),
            missing: missing.map(|hook| (hook.name.clone(), hook.lost.clone())).collect(),
            gaps: status.gaps.iter().map(|gap| gap.to_seq.saturating_sub(gap.from_seq) + 1).sum(),
        };
        self.keep(mark.seq, health);
    }

    /// Adds what `other` knows; the number of records that both had.
    pub(in crate::detect) fn merge(&mut self, other: Self) -> u64 {
        for (seq, health) in other.statuses {
            self.keep(seq, health);
        }
        self.last = self.last.max(other.last);
        self.seen.merge(&other.seen)
    }

    fn keep(&mut self, seq: u64, health: Health) {
        self.statuses.insert(seq, health);
        if self.statuses.len() > MAX_STATUSES {
            self.statuses.pop_first();
        }
    }
}
