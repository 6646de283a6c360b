//! Bounded tables of what findings are about.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Part of a full table that makes room at once: those seen least recently.
const MAKE_ROOM: usize = 8;

/// What a [`Table`] has to know of its values.
pub(in crate::detect) trait Entry: Default {
    /// Latest time it was seen, nanoseconds since the epoch.
    fn last(&self) -> u64;
    /// Adds what another detector knows of the same.
    fn merge(&mut self, other: Self);
}

/// Values by name, at most `limit`.
#[derive(Debug)]
pub(in crate::detect) struct Table<V> {
    /// Names, and where in `items` each is. The name stands here, too, so that it and the item are fetched at once.
    places: HashTable<(Arc<str>, u32)>,
    hasher: RandomState,
    items: Vec<(Arc<str>, V)>,
    limit: usize,
    /// Values forgotten because the table was full.
    pub(in crate::detect) forgotten: u64,
}

impl<V: Entry> Table<V> {
    /// An empty table.
    pub(in crate::detect) fn new(limit: usize) -> Self {
        let (places, hasher) = (HashTable::new(), RandomState::default());
        Self { places, hasher, items: Vec::new(), limit, forgotten: 0 }
    }

    /// The value of `name`, made when there is none; with its shared name and whether it is new.
    pub(in crate::detect) fn entry(&mut self, name: &str) -> Option<(&Arc<str>, &mut V, bool)> {
        let (at, new) = self.entry_place(name)?;
        self.at(at).map(|(name, value)| (name, value, new))
    }

    /// Where the value of `name` is, made when there is none, and whether it is new. It stays there until something
    /// is forgotten.
    pub(in crate::detect) fn entry_place(&mut self, name: &str) -> Option<(u32, bool)> {
        let hash = self.hasher.hash_one(name);
        if let Some(at) = self.find(hash, name) {
            return Some((at, false));
        }
        self.make_room();
        let at = u32::try_from(self.items.len()).ok()?;
        let name: Arc<str> = name.into();
        self.items.push((name.clone(), V::default()));
        let hasher = &self.hasher;
        self.places.insert_unique(hash, (name, at), |(name, _)| hasher.hash_one(&**name));
        Some((at, true))
    }

    /// Where the value of `name` is.
    pub(in crate::detect) fn place(&self, name: &str) -> Option<u32> {
        self.find(self.hasher.hash_one(name), name)
    }

    /// The shared name and value at a place.
    pub(in crate::detect) fn at(&mut self, at: u32) -> Option<(&Arc<str>, &mut V)> {
        self.items.get_mut(at as usize).map(|(name, value)| (&*name, value))
    }

    /// The value of `name`.
    pub(in crate::detect) fn get(&self, name: &str) -> Option<&V> {
        let at = self.place(name)?;
        self.items.get(at as usize).map(|(_, value)| value)
    }

    /// The shared form of `name`, and its value.
    pub(in crate::detect) fn get_mut(&mut self, name: &str) -> Option<(&Arc<str>, &mut V)> {
        let at = self.place(name)?;
        self.at(at)
    }

    /// All of them, in no order.
    pub(in crate::detect) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.items.iter().map(|(name, value)| (name, value))
    }

    /// Values held.
    pub(in crate::detect) fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds everything of `other`.
    pub(in crate::detect) fn merge(&mut self, other: Self) {
        self.forgotten += other.forgotten;
        for (name, value) in other.items {
            if let Some((_, known, _)) = self.entry(&name) {
                known.merge(value);
            }
        }
    }

    fn find(&self, hash: u64, name: &str) -> Option<u32> {
        self.places.find(hash, |(known, _)| **known == *name).map(|(_, at)| *at)
    }

    /// Whether one more makes others go.
    pub(in crate::detect) fn is_full(&self) -> bool {
        self.items.len() >= self.limit
    }

    /// Forgets some of a full table.
    pub(in crate::detect) fn make_room(&mut self) {
        if !self.is_full() {
            return;
        }
        let mut times: Vec<u64> = self.items.iter().map(|(_, value)| value.last()).collect();
        let going = (self.items.len() / MAKE_ROOM).max(1);
        let (_, newest_going, _) = times.select_nth_unstable(going - 1);
        let newest_going = *newest_going;
        // Of many that were seen at the same time no more than this go.
        let mut left = going;
        // From the end: what takes the place of one that goes was looked at already.
        for at in (0..self.items.len()).rev() {
            let goes = self.items.get(at).is_some_and(|(_, value)| value.last() <= newest_going);
            if goes && left > 0 {
                left -= 1;
                self.remove(at);
            }
        }
        self.forgotten += (going - left) as u64;
    }

    /// Removes the item at `at`; the last one takes its place.
    fn remove(&mut self, at: usize) {
        let (gone, _) = self.items.swap_remove(at);
        let hash = self.hasher.hash_one(&*gone);
        if let Ok(place) = self.places.find_entry(hash, |(name, _)| Arc::ptr_eq(name, &gone)) {
            place.remove();
        }
        let Some((moved, _)) = self.items.get(at) else { return };
        let hash = self.hasher.hash_one(&**moved);
        if let Some(place) = self.places.find_mut(hash, |(name, _)| Arc::ptr_eq(name, moved)) {
            place.1 = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::Span;
    use super::*;

    impl Entry for Span {
        fn last(&self) -> u64 {
            self.last
        }

        fn merge(&mut self, other: Self) {
            Span::merge(self, &other);
        }
    }

    #[test]
    fn a_full_table_forgets_what_was_seen_least_recently() {
        let mut table: Table<Span> = Table::new(16);
        for time in 1..=16u64 {
            table.entry(&time.to_string()).unwrap().1.add(time);
        }
        table.entry("1").unwrap().1.add(100);
        assert!(table.entry("17").unwrap().2);
        assert_eq!((table.len(), table.forgotten), (15, 2));
        assert!(table.get("1").is_some() && table.get("2").is_none() && table.get("3").is_none());
        assert_eq!(table.get("16").unwrap().last, 16);
    }

    #[test]
    fn of_many_seen_at_once_only_an_eighth_goes() {
        let mut table: Table<Span> = Table::new(16);
        for name in 0..40u64 {
            table.entry(&name.to_string()).unwrap().1.add(7);
            assert!(table.len() <= 16);
        }
        assert!(table.len() >= 14, "{}", table.len());
    }
}
