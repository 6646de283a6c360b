//! What is counted from records as they pass: calls and findings as for a collector, and gaps of this host's log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ::metrics::{Names, OTHER, Page, bounded, label};
use proto::v1::{Gap, Record, record::Body};

use super::table;

/// Causes of gaps that have series of their own.
const MAX_CAUSES: usize = 200;

/// Counts so far; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    calls: ::metrics::Tally,
    gaps: Arc<Mutex<Gaps>>,
}

#[derive(Debug, Default)]
struct Gaps {
    causes: BTreeMap<String, Counts>,
    /// First number of a gap that goes on.
    open: Option<u64>,
}

#[derive(Debug, Default)]
struct Counts {
    gaps: u64,
    missing: u64,
}

impl Tally {
    /// Counts one record.
    pub fn count(&self, record: &Record) {
        match &record.body {
            Some(Body::Status(status)) => {
                let mut gaps = self.gaps();
                status.gaps.iter().for_each(|gap| gaps.count(gap));
            }
            _ => self.calls.count(record),
        }
    }

    /// Puts everything counted on the page.
    pub(super) fn fill(&self, page: &mut Page) {
        self.calls.fill(page, &Names::SENSOR, None);
        page.add(table::LOG_GAPS, ["queue_full"], 0.0);
        for (cause, counts) in &self.gaps().causes {
            page.add(table::LOG_GAPS, [cause], counts.gaps as f64);
            page.add(table::LOG_MISSING, [cause], counts.missing as f64);
        }
    }

    fn gaps(&self) -> MutexGuard<'_, Gaps> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gaps {
    fn count(&mut self, gap: &Gap) {
        let counts = bounded(&mut self.causes, label(&gap.cause), OTHER.to_owned(), MAX_CAUSES);
        // Told when it begins, without an end, and again when it has ended; an old one only once.
        let from = Some(gap.from_seq);
        match gap.to_seq {
            0 => {
                counts.gaps += 1;
                self.open = from;
            }
            last => {
                counts.gaps += u64::from(self.open != from);
                counts.missing += last.saturating_add(1).saturating_sub(gap.from_seq);
                self.open = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
