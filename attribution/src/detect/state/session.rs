//! What is known of one session, or of one process tree that has none.

use std::sync::Arc;

use super::Waits;
use super::buckets::Amount;
use super::credential::Sample;
use super::keyed::Keyed;
use super::lane::Sums;
use super::names::mixed;
use super::span::{Evidence, Span};
use super::table::Entry;

/// Width of a slot in which calls are compared, nanoseconds.
pub(in crate::detect) const SLOT_NS: u64 = 600_000_000_000;
/// Slots that are kept: the latest hour of activity.
const MAX_SLOTS: usize = 6;
/// Credentials told apart of one session.
const MAX_KEYS: usize = 8;
/// Counters for the sizes of requests. Only a size that most requests have fills one alone.
pub(in crate::detect) const SIZES: usize = 16;

/// One session. Its table key is the session's id, or names the tree's oldest process.
#[derive(Debug, Default)]
pub(in crate::detect) struct Session {
    /// The principal of its earliest call.
    pub(in crate::detect) place: Arc<str>,
    /// Its calls.
    pub(in crate::detect) span: Span,
    /// Which records say so.
    pub(in crate::detect) evidence: Evidence,
    /// The process of the earliest call.
    pub(in crate::detect) sample: Sample,
    /// Calls after its end.
    pub(in crate::detect) orphans: Span,
    /// Which records say so.
    pub(in crate::detect) orphan_evidence: Evidence,
    /// Fingerprints of the credentials it used.
    pub(in crate::detect) keys: Keyed<Arc<str>, MAX_KEYS>,
    /// Everything it used.
    pub(in crate::detect) used: Amount,
    /// Whether the sensor told a session; else it is a process tree.
    pub(in crate::detect) told: bool,
    /// The latest slots, oldest first.
    pub(in crate::detect) slots: Vec<Slot>,
    /// Whether it waits to be looked at.
    pub(in crate::detect) waits: Waits,
}

/// The calls of ten minutes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct Slot {
    /// Ten minutes since the epoch.
    pub(in crate::detect) index: u32,
    /// Calls that could loop.
    pub(in crate::detect) calls: u32,
    /// Calls that were refused or failed.
    pub(in crate::detect) failed: u32,
    /// Calls by the hash of model and input tokens.
    pub(in crate::detect) sizes: [u32; SIZES],
    /// A bit for each calling process, by hash.
    pub(in crate::detect) processes: [u64; 4],
}

impl Slot {
    /// Calls of the size that is met most often, or a little more.
    pub(in crate::detect) fn same_size(&self) -> u32 {
        self.sizes.iter().copied().max().unwrap_or(0)
    }

    /// About how many processes called (linear counting: Whang, Vander-Zanden and Taylor, 1990).
    pub(in crate::detect) fn callers(&self) -> u32 {
        let bits = 256.0;
        let set = f64::from(self.processes.iter().map(|word| word.count_ones()).sum::<u32>());
        // Full means at least as many as this can tell.
        (-bits * (1.0 - set.min(bits - 1.0) / bits).ln()).round() as u32
    }

    /// Counts a call of a [`size`]; whether its process, spread over its upper bits ([`mixed`]), called for the first
    /// time.
    pub(in crate::detect) fn add(&mut self, failed: bool, size: Option<usize>, process: u64) -> bool {
        self.calls = self.calls.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(failed));
        if let Some(cell) = size.and_then(|cell| self.sizes.get_mut(cell)) {
            *cell = cell.saturating_add(1);
        }
        let bit = process >> (u64::BITS - 8);
        let Some(word) = self.processes.get_mut((bit / 64) as usize) else { return false };
        let before = *word;
        *word |= 1 << (bit % 64);
        *word != before
    }

    /// Adds the calls of a lane. They did not fail, and the first call of their process was counted before.
    pub(in crate::detect) fn add_all(&mut self, sums: &Sums) {
        self.calls = self.calls.saturating_add(sums.looping.into());
        for (cell, more) in self.sizes.iter_mut().zip(sums.sizes) {
            *cell = cell.saturating_add(more.into());
        }
    }

    fn merge(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        for (cell, other) in self.sizes.iter_mut().zip(other.sizes) {
            *cell = cell.saturating_add(other);
        }
        for (word, other) in self.processes.iter_mut().zip(other.processes) {
            *word |= other;
        }
    }
}

/// Which of the counters for sizes counts calls to `dest` with so many input tokens.
pub(in crate::detect) fn size(dest: u64, input: u64) -> usize {
    // The upper bits are the ones that are spread.
    (mixed(dest, input) >> (u64::BITS - SIZES.ilog2())) as usize
}

impl Session {
    /// The slot of `index`; nothing for one that is older than all that are kept.
    pub(in crate::detect) fn slot(&mut self, index: u32) -> Option<&mut Slot> {
        let at = self.slots.partition_point(|slot| slot.index < index);
        if self.slots.get(at).is_none_or(|slot| slot.index != index) {
            let full = self.slots.len() >= MAX_SLOTS;
            if full && at == 0 {
                return None;
            }
            self.slots.insert(at, Slot { index, ..Slot::default() });
            if full {
                self.slots.remove(0);
                return self.slots.get_mut(at - 1);
            }
        }
        self.slots.get_mut(at)
    }
}

impl Entry for Session {
    fn last(&self) -> u64 {
        self.span.last
    }

    fn merge(&mut self, other: Self) {
        self.span.merge(&other.span);
        if self.evidence.merge(&other.evidence) {
            self.sample = other.sample;
            self.place = other.place;
        }
        self.orphans.merge(&other.orphans);
        self.orphan_evidence.merge(&other.orphan_evidence);
        self.keys.merge(other.keys, |_, _| ());
        self.used.add(other.used);
        self.told |= other.told;
        for slot in &other.slots {
            if let Some(known) = self.slot(slot.index) {
                known.merge(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_counted_about_right_and_sizes_stand_out() {
        let mut slot = Slot::default();
        for process in 0..100 {
            let size = size(1, if process < 95 { 7 } else { process });
            slot.add(process % 2 == 0, Some(size), mixed(process, 3));
        }
        assert!((90..=110).contains(&slot.callers()), "{}", slot.callers());
        assert!((95..=100).contains(&slot.same_size()));
        assert_eq!((slot.calls, slot.failed), (100, 50));
        for process in 0..5000 {
            slot.add(false, None, mixed(process, 3));
        }
        assert!(slot.callers() > 1000);
    }

    #[test]
    fn the_latest_slots_are_kept() {
        let mut session = Session::default();
        for index in [5, 1, 3, 9, 8, 7, 2, 6] {
            if let Some(slot) = session.slot(index) {
                slot.calls += 1;
            }
        }
        let kept: Vec<u32> = session.slots.iter().map(|slot| slot.index).collect();
        assert_eq!(kept, [3, 5, 6, 7, 8, 9]);
    }
}
