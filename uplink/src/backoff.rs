//! How long to wait before the next try: longer each time, and never in step with other hosts.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// The first pause is at most so long.
const FIRST: Duration = Duration::from_millis(500);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Tries that failed in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// Something worked.
    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }

    /// The pause after one more try that failed, with `endpoints` to choose from: each is tried before waiting
    /// longer. Any time up to the limit is as likely ("full jitter"), so that a thousand sensors whose collector
    /// comes back do not arrive at once.
    pub(crate) fn next(&mut self, endpoints: usize) -> Duration {
        let limit = self.limit(endpoints);
        self.0 = self.0.saturating_add(1);
        // Each of these has random keys.
        let random = RandomState::new().build_hasher().finish();
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % (limit + 1))
    }

    fn limit(&self, endpoints: usize) -> Duration {
        let rounds = self.0 / u32::try_from(endpoints.max(1)).unwrap_or(1);
        FIRST.saturating_mul(2_u32.saturating_pow(rounds)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        let mut limits = Vec::new();
        for _ in 0..20 {
            limits.push(backoff.limit(2));
            assert!(backoff.next(2) <= limits[limits.len() - 1]);
        }
        assert_eq!(limits[..4], [FIRST, FIRST, FIRST * 2, FIRST * 2], "each endpoint is tried first");
        assert_eq!(limits[19], LONGEST);
        let one = (0..8).map(|_| backoff.next(1)).collect::<Vec<_>>();
        let other = (0..8).map(|_| backoff.next(1)).collect::<Vec<_>>();
        assert_ne!(one, other);
        backoff.reset();
        assert_eq!(backoff.limit(2), FIRST);
    }
}
