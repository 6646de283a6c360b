//! What the store says of itself, for metrics and the watchdog.

use std::{collections::BTreeMap, fmt};

use ::metrics::Tally;
use flow_log::Position;

use super::{told::GONE_NS, writer::Writer};
use crate::{
    archive::{Archive as _, calendar},
    fleet::{Fleet, Kind},
};

/// What the store says of itself.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Whether the last batches could not be stored.
    pub failing: bool,
    /// Each tenant by name.
    pub tenants: BTreeMap<String, Tenant>,
}

/// What the store says of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Tenant {
    /// Sensors that are not silent.
    pub heard: usize,
    /// Sensors that are, unless they were taken away.
    pub silent: usize,
    /// What was wrong with sensors since the start: of [`Kind::ALL`] each.
    pub reports: [u64; Kind::ALL.len()],
    /// What was stored since the start.
    pub stored: Stored,
    /// How far the log reaches.
    pub position: Position,
}

/// What was stored of a tenant's sensors since the start.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Records.
    pub records: u64,
    /// Their size as JSON, bytes.
    pub bytes: u64,
    /// Records that came again and were left out.
    pub duplicates: u64,
    /// Numbers that were skipped.
    pub missing: u64,
    /// Calls and the fleet's own findings; clones count together.
    pub tally: Tally,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let but = if self.failing { "; the storage fails, sensors keep their records" } else { "" };
        let sensors: usize = self.tenants.values().map(|tenant| tenant.heard).sum();
        let stored: u64 = self.tenants.values().map(|tenant| tenant.stored.records).sum();
        write!(f, "{sensors} sensors; {stored} records stored{but}")
    }
}

impl Writer {
    pub(super) fn summary(&self) -> Summary {
        let mut tenants: BTreeMap<String, Tenant> = BTreeMap::new();
        for (name, position) in self.archive.positions() {
            let stored = self.stored.get(&name).cloned().unwrap_or_default();
            let reports = self.fleets.get(&name).map(Fleet::seen).unwrap_or_default();
            tenants.insert(name, Tenant { stored, reports, position, ..Tenant::default() });
        }
        for (peer, silence) in self.silences(calendar()) {
            let tenant = tenants.entry(peer.tenant.clone()).or_default();
            match silence {
                heard if heard < self.silent_after_ns() => tenant.heard += 1,
                silent if silent < GONE_NS => tenant.silent += 1,
                _ => {}
            }
        }
        Summary { failing: self.failing, tenants }
    }
}
