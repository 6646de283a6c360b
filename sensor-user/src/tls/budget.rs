//! When a probed file costs unrelated programs too much.

/// First pause after a demotion before the whole file is probed again, nanoseconds.
const FIRST_PAUSE_NS: u64 = 60_000_000_000;
/// Longest pause, nanoseconds.
const MAX_PAUSE_NS: u64 = 3_600_000_000_000;
/// Time over which hits are judged, nanoseconds; shorter spans are added up.
const WINDOW_NS: u64 = 100_000_000;

/// Hit budget of one file.
#[derive(Debug, Clone)]
pub struct Budget {
    per_second: u64,
    last_ns: u64,
    total: u64,
    model: u64,
    pause_ns: u64,
    until_ns: u64,
}

impl Budget {
    /// A budget of `per_second` hits that serve no model connection.
    pub fn new(per_second: u64, now_ns: u64) -> Self {
        Self { per_second, last_ns: now_ns, total: 0, model: 0, pause_ns: FIRST_PAUSE_NS, until_ns: 0 }
    }

    /// Counters of the file at `now_ns`; true when its probes must be taken from unrelated programs: over
    /// the budget, and mostly for nothing.
    pub fn exceeded(&mut self, total: u64, model: u64, now_ns: u64) -> bool {
        let span = now_ns.saturating_sub(self.last_ns);
        if span < WINDOW_NS {
            return false;
        }
        let (hits, useful) = (total.saturating_sub(self.total), model.saturating_sub(self.model));
        (self.last_ns, self.total, self.model) = (now_ns, total, model);
        let wasted = hits.saturating_sub(useful);
        let allowed = (u128::from(self.per_second) * u128::from(span) / 1_000_000_000) as u64;
        wasted > allowed && wasted > useful
    }

    /// Starts a pause; each is twice as long as the one before.
    pub fn pause(&mut self, now_ns: u64) {
        self.until_ns = now_ns.saturating_add(self.pause_ns);
        self.pause_ns = (self.pause_ns * 2).min(MAX_PAUSE_NS);
    }

    /// Whether the pause is over. Counters start anew.
    pub fn resume(&mut self, total: u64, model: u64, now_ns: u64) -> bool {
        if now_ns < self.until_ns {
            return false;
        }
        (self.last_ns, self.total, self.model) = (now_ns, total, model);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn many_useless_hits_exceed_and_useful_ones_never() {
        let mut budget = Budget::new(2000, 0);
        assert!(!budget.exceeded(2000, 0, SECOND));
        assert!(budget.exceeded(2000 + 2001, 0, 2 * SECOND));
        let mut budget = Budget::new(2000, 0);
        assert!(!budget.exceeded(100_000, 60_000, SECOND));
    }

    #[test]
    fn a_short_span_is_judged_with_the_next() {
        let mut budget = Budget::new(1000, 0);
        assert!(!budget.exceeded(500, 0, WINDOW_NS - 1));
        assert!(budget.exceeded(600, 0, WINDOW_NS));
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut budget = Budget::new(1, 0);
        budget.pause(0);
        assert!(!budget.resume(0, 0, FIRST_PAUSE_NS - 1));
        assert!(budget.resume(0, 0, FIRST_PAUSE_NS));
        budget.pause(0);
        assert!(!budget.resume(0, 0, 2 * FIRST_PAUSE_NS - 1));
        for _ in 0..20 {
            budget.pause(0);
        }
        assert!(budget.resume(0, 0, MAX_PAUSE_NS));
    }
}
