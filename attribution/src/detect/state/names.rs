//! Text that many entries share, held once.

use std::collections::HashSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::memo::Memo;

/// Texts held before those that nobody uses any more are dropped.
const FIRST_SWEEP: usize = 4096;

/// The texts.
#[derive(Debug)]
pub(in crate::detect) struct Names {
    known: HashSet<Arc<str>, RandomState>,
    dests: HashSet<Arc<Dest>, RandomState>,
    /// Destinations that were asked for lately.
    recent: Memo<Arc<Dest>>,
    hasher: RandomState,
    sweep_at: usize,
}

/// Where calls go: provider, host and model, each empty when unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::detect) struct Dest {
    /// Provider id.
    pub(in crate::detect) provider: Arc<str>,
    /// Host name.
    pub(in crate::detect) host: Arc<str>,
    /// Model, as requested or else as served.
    pub(in crate::detect) model: Arc<str>,
    /// The [`key`] of the three.
    pub(in crate::detect) key: u64,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            known: HashSet::default(),
            dests: HashSet::default(),
            recent: Memo::default(),
            hasher: RandomState::default(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Names {
    /// The shared form of `text`.
    pub(in crate::detect) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        self.sweep();
        let new: Arc<str> = text.into();
        self.known.insert(new.clone());
        new
    }

    /// The shared form of a destination.
    pub(in crate::detect) fn dest(&mut self, parts: [&str; 3]) -> Arc<Dest> {
        let hash = self.hasher.hash_one(parts);
        if let Some(known) = self.recent.get(hash, |known| known.is(parts)) {
            return known.clone();
        }
        let known = self.intern(parts);
        self.recent.put(hash, known.clone());
        known
    }

    /// The key of a destination.
    pub(in crate::detect) fn dest_key(&mut self, parts: [&str; 3]) -> u64 {
        self.dest(parts).key
    }

    fn intern(&mut self, parts: [&str; 3]) -> Arc<Dest> {
        let [provider, host, model] = parts.map(|part| self.share(part));
        let dest = Dest { provider, host, model, key: key(parts) };
        if let Some(known) = self.dests.get(&dest) {
            return known.clone();
        }
        let new = Arc::new(dest);
        self.dests.insert(new.clone());
        new
    }

    /// Drops what only this table holds. The next sweep comes when it has doubled, so it costs little.
    fn sweep(&mut self) {
        if self.known.len() >= self.sweep_at {
            self.recent.clear();
            self.dests.retain(|dest| Arc::strong_count(dest) > 1);
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = (2 * self.known.len()).max(FIRST_SWEEP);
        }
    }
}

impl Dest {
    /// Host and provider for a sentence.
    pub(in crate::detect) fn place(&self) -> String {
        match (&*self.provider, &*self.host) {
            ("", host) => host.to_owned(),
            (provider, "") => provider.to_owned(),
            (provider, host) => format!("{provider} ({host})"),
        }
    }

    fn is(&self, [provider, host, model]: [&str; 3]) -> bool {
        *self.host == *host && *self.model == *model && *self.provider == *provider
    }
}

/// A key of `parts` that is the same on every host and in every order.
pub(in crate::detect) fn key<T: Hash>(parts: T) -> u64 {
    // Without random keys, on purpose: which entries a full set keeps must not differ between runs.
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// A number of two that spreads well over its upper bits, for counts that are estimates: both are the sensor's own or
/// keys already, so nobody can choose what meets.
pub(in crate::detect) fn mixed(one: u64, other: u64) -> u64 {
    // Fibonacci hashing (Knuth, The Art of Computer Programming 6.4): 2 to the power of 64, by the golden ratio.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (one.wrapping_mul(GOLDEN) ^ other).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_text_is_dropped_and_used_text_is_shared() {
        let mut names = Names::default();
        let used = names.share("used");
        for index in 0..3 * FIRST_SWEEP {
            names.share(&index.to_string());
        }
        assert!(names.known.len() <= FIRST_SWEEP + 1);
        assert!(Arc::ptr_eq(&used, &names.share("used")));
        let dest = names.dest(["openai", "api.openai.com", "m"]);
        assert!(Arc::ptr_eq(&dest, &names.dest(["openai", "api.openai.com", "m"])));
    }
}
