//! A map that forgets its oldest entry when it is full.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most `limit` entries, by the order in which their keys came.
pub(super) struct Recent<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), limit }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_oldest_key_goes_and_a_new_value_does_not_make_it_younger() {
        let mut recent = Recent::new(2);
        for (key, value) in [(1, 'a'), (2, 'b'), (1, 'c'), (3, 'd')] {
            recent.insert(key, value);
        }
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).copied()), [None, Some('b'), Some('d')]);
        assert_eq!((recent.entries.len(), recent.order.len()), (2, 2));
    }
}
