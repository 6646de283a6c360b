//! Bounded tables of what findings are about.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

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
    places: HashMap<Arc<str>, u32, RandomState>,
    items: Vec<(Arc<str>, V)>,
    limit: usize,
    /// Values forgotten because the table was full.
    pub(in crate::detect) forgotten: u64,
}

impl<V: Entry> Table<V> {
    /// An empty table.
    pub(in crate::detect) fn new(limit: usize) -> Self {
        Self { places: HashMap::default(), items: Vec::new(), limit, forgotten: 0 }
    }

    /// The value of `name`, made when there is none; with its shared name and whether it is new.
    pub(in crate::detect) fn entry(&mut self, name: &str) -> Option<(&Arc<str>, &mut V, bool)> {
        let known = self.places.get(name).copied();
        let at = match known {
            Some(at) => at,
            None => {
                self.make_room();
                let (name, at): (Arc<str>, _) = (name.into(), u32::try_from(self.items.len()).ok()?);
                self.items.push((name.clone(), V::default()));
                self.places.insert(name, at);
                at
            }
        };
        let (name, value) = self.items.get_mut(at as usize)?;
        Some((name, value, known.is_none()))
    }

    /// The value of `name`.
    pub(in crate::detect) fn get(&self, name: &str) -> Option<&V> {
        self.items.get(*self.places.get(name)? as usize).map(|(_, value)| value)
    }

    /// The shared form of `name`, and its value.
    pub(in crate::detect) fn get_mut(&mut self, name: &str) -> Option<(&Arc<str>, &mut V)> {
        self.items.get_mut(*self.places.get(name)? as usize).map(|(name, value)| (&*name, value))
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

    fn make_room(&mut self) {
        if self.items.len() < self.limit {
            return;
        }
        let mut times: Vec<u64> = self.items.iter().map(|(_, value)| value.last()).collect();
        let going = (self.items.len() / MAKE_ROOM).max(1);
        let (_, newest_going, _) = times.select_nth_unstable(going - 1);
        let newest_going = *newest_going;
        // Of many that were seen at the same time no more than this go.
        let mut left = going;
        self.items.retain(|(_, value)| {
            let goes = left > 0 && value.last() <= newest_going;
            left -= usize::from(goes);
            !goes
        });
        self.forgotten += (going - left) as u64;
        self.places.clear();
        for (at, (name, _)) in (0..).zip(&self.items) {
            self.places.insert(name.clone(), at);
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
