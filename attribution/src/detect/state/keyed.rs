//! Small bounded sets whose content does not depend on the order of arrival.

use super::few::Few;

/// Values that are looked through before a key is made: making one costs as much as looking at about so many.
const FEW: usize = 4;

/// Values by key, at most `N`: those with the smallest keys.
///
/// A key outside the final content was never needed, and one inside never left, so counts of what is kept
/// are exact in any order and after any merge. Keys are hashes: which values are kept is arbitrary but always
/// the same.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::detect) struct Keyed<V, const N: usize> {
    items: Few<(u64, V)>,
    /// Whether there were more than `N`.
    pub(in crate::detect) overflowed: bool,
}

impl<V, const N: usize> Default for Keyed<V, N> {
    fn default() -> Self {
        Self { items: Few::default(), overflowed: false }
    }
}

impl<V, const N: usize> Keyed<V, N> {
    /// The value of `key` and whether it is new; made by `new` when it is and belongs to the kept ones.
    pub(in crate::detect) fn entry(&mut self, key: u64, new: impl FnOnce() -> V) -> Option<(&mut V, bool)> {
        match self.find(key) {
            Ok(at) => self.at(at).map(|value| (value, false)),
            Err(at) => {
                if self.len() >= N {
                    self.overflowed = true;
                    if at >= N {
                        return None;
                    }
                    self.items.pop();
                }
                self.items.insert(at, (key, new()));
                self.at(at).map(|value| (value, true))
            }
        }
    }

    /// As [`Keyed::entry`], by what a value says of itself: its `key` is made only when the value is not among a few.
    pub(in crate::detect) fn entry_of(
        &mut self,
        is: impl Fn(&V) -> bool,
        key: impl FnOnce() -> u64,
        new: impl FnOnce() -> V,
    ) -> Option<(&mut V, bool)> {
        let few = self.len() <= FEW;
        match self.items.as_slice().iter().position(|(_, value)| few && is(value)) {
            Some(at) => self.at(at).map(|value| (value, false)),
            None => self.entry(key(), new),
        }
    }

    /// The value of `key`, if it is kept.
    pub(in crate::detect) fn known(&mut self, key: u64) -> Option<&mut V> {
        self.find(key).ok().and_then(|at| self.at(at))
    }

    /// The values, in the order of their keys.
    pub(in crate::detect) fn values(&self) -> impl Iterator<Item = &V> {
        self.items.as_slice().iter().map(|(_, value)| value)
    }

    /// The keys, smallest first.
    pub(in crate::detect) fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.items.as_slice().iter().map(|(key, _)| *key)
    }

    /// Values kept.
    pub(in crate::detect) fn len(&self) -> usize {
        self.items.as_slice().len()
    }

    /// Takes over `other`; `join` adds a value to the one with the same key.
    pub(in crate::detect) fn merge(&mut self, other: Self, join: impl Fn(&mut V, V)) {
        self.overflowed |= other.overflowed;
        for (key, value) in other.items.into_iter() {
            let mut value = Some(value);
            // An old value is joined below; a new one is moved in here.
            let Some((known, new)) = self.entry_with(key, &mut value) else { continue };
            if let (false, Some(value)) = (new, value) {
                join(known, value);
            }
        }
    }

    /// Where `key` is, or would have to be.
    fn find(&self, key: u64) -> Result<usize, usize> {
        self.items.as_slice().binary_search_by_key(&key, |(known, _)| *known)
    }

    fn at(&mut self, at: usize) -> Option<&mut V> {
        self.items.as_mut_slice().get_mut(at).map(|(_, value)| value)
    }

    fn entry_with(&mut self, key: u64, value: &mut Option<V>) -> Option<(&mut V, bool)> {
        match self.find(key) {
            Ok(at) => self.at(at).map(|known| (known, false)),
            Err(_) => {
                let taken = value.take()?;
                self.entry(key, || taken)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(keys: &[u64]) -> Keyed<u64, 4> {
        let mut set = Keyed::default();
        for key in keys {
            if let Some((count, _)) = set.entry(*key, || 0) {
                *count += 1;
            }
        }
        set
    }

    proptest! {
        #[test]
        fn order_and_partition_do_not_matter(
            (keys, shuffled, cut) in prop::collection::vec(0..9u64, 0..40).prop_flat_map(|keys| {
                let len = keys.len();
                (Just(keys.clone()), Just(keys).prop_shuffle(), 0..=len)
            })
        ) {
            let whole = of(&keys);
            prop_assert_eq!(&of(&shuffled), &whole);
            let mut merged = of(&shuffled[..cut]);
            merged.merge(of(&shuffled[cut..]), |known, other| *known += other);
            prop_assert_eq!(&merged, &whole);
            prop_assert!(whole.len() <= 4);
        }
    }

    #[test]
    fn a_value_is_the_same_by_its_key_and_by_itself() {
        let mut set: Keyed<u64, 8> = Keyed::default();
        for number in [7, 3, 7, 1, 2, 3, 9, 8, 9, 1] {
            let (by_itself, new) = set
                .entry_of(|known| *known == number, || number, || number)
                .map(|(value, new)| (*value, new))
                .unwrap();
            assert_eq!(
                (by_itself, set.entry(number, || 0).map(|(value, new)| (*value, new))),
                (number, Some((number, false)))
            );
            assert!(!new || set.len() <= 6);
        }
        assert_eq!(set.len(), 6);
    }
}
