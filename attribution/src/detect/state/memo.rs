//! Answers that cost much and are asked for again and again, in a fixed number of places.

/// Places, a power of two.
const PLACES: usize = 4096;

/// Answers by a hash of the question; a later one takes the place of an earlier one.
#[derive(Debug)]
pub(in crate::detect) struct Memo<V>(Vec<Option<V>>);

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Memo<V> {
    /// What is known under this hash, if it `is` the answer.
    pub(in crate::detect) fn get(&self, hash: u64, is: impl FnOnce(&V) -> bool) -> Option<&V> {
        self.0.get(place(hash))?.as_ref().filter(|known| is(known))
    }

    /// Keeps an answer.
    pub(in crate::detect) fn put(&mut self, hash: u64, answer: V) {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, || None);
        }
        if let Some(known) = self.0.get_mut(place(hash)) {
            *known = Some(answer);
        }
    }

    /// Forgets all.
    pub(in crate::detect) fn clear(&mut self) {
        self.0.clear();
    }
}

fn place(hash: u64) -> usize {
    (hash % PLACES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_until_another_takes_its_place() {
        let mut memo = Memo::default();
        let other = 7 + PLACES as u64;
        assert_eq!(memo.get(7, |_| true), None);
        memo.put(7, "seven");
        memo.put(8, "eight");
        assert_eq!(
            (memo.get(7, |known| *known == "seven"), memo.get(8, |_| true)),
            (Some(&"seven"), Some(&"eight"))
        );
        assert_eq!(memo.get(other, |known| *known == "other"), None);
        memo.put(other, "other");
        assert_eq!(memo.get(7, |known| *known == "seven"), None);
        memo.clear();
        assert_eq!(memo.get(8, |_| true), None);
    }
}
