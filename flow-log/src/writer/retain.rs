//! Complete segments, and which of them have to go.

use super::{NS_PER_S, Now, Writer};
use crate::{segment, storage::Storage};

/// Time between two looks at the ages of segments.
const EVERY_NS: u64 = 60 * NS_PER_S;

/// A segment that is not written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// Time of its newest record.
    pub(super) to_time: u64,
}

impl<S: Storage> Writer<S> {
    /// Removes the oldest segments while they are too large together or too old. The active one stays.
    pub(super) fn retain(&mut self, now: Now) {
        let active = self.active.as_ref().map_or(0, |active| active.length);
        let mut total = active + self.complete.iter().map(|segment| segment.bytes).sum::<u64>();
        let mut removed = false;
        while let Some(oldest) = self.complete.front() {
            let old = oldest.to_time.saturating_add(self.options.retain_ns) < now.calendar_ns;
            if total <= self.options.retain_bytes && !old {
                break;
            }
            // What cannot be removed now is tried again later.
            match self.storage.remove(&segment::name(oldest.number)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => break,
                _ => {}
            }
            total -= oldest.bytes;
            removed = true;
            self.complete.pop_front();
        }
        // If the removal does not survive a crash, the segment is removed once more.
        if removed {
            let _ = self.storage.sync_folder();
        }
        self.retained_ns = now.steady_ns;
    }

    /// Whether it is time to look at ages.
    pub(super) fn retain_is_due(&self, now: Now) -> bool {
        now.steady_ns >= self.retained_ns.saturating_add(EVERY_NS)
    }
}
