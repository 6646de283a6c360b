//! How long something takes, counted by upper bounds, for a histogram.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds, milliseconds; what takes longer than the last is counted behind it.
const BOUNDS_MS: [u64; 13] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/// Counts of durations; any thread may count.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

/// What was counted until one moment.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Upper bounds in seconds, the last infinite, and how many lie between each and the one before.
    pub(crate) buckets: Vec<(f64, u64)>,
    /// Sum of all, seconds.
    pub(crate) sum: f64,
}

impl Durations {
    /// Counts one.
    pub fn count(&self, took: Duration) {
        let at = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(count) = self.counts.get(at.unwrap_or(BOUNDS_MS.len())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self) -> Counted {
        let bounds = BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64());
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        Counted { buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(), sum }
    }
}
