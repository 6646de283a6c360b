//! Which records of a sensor's boot were taken, so that a repeated one counts once.

use std::collections::VecDeque;

/// Sequence numbers behind the highest that can still be told apart. What is older counts as taken.
const WINDOW_SEQS: u64 = 65_536;
/// Sequence numbers in one word.
const WORD: u64 = u64::BITS as u64;

/// A window of sequence numbers: a watermark and a bit for each number above it.
#[derive(Debug, Clone, Default)]
pub(in crate::detect) struct Seen {
    /// Number of the first word; everything before it counts as taken.
    base: u64,
    words: VecDeque<u64>,
}

/// What is known of a record's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::detect) enum Arrival {
    /// It is new.
    New,
    /// It was taken before.
    Repeated,
    /// It is older than the window.
    TooOld,
}

impl Seen {
    /// Marks `seq` as taken.
    pub(in crate::detect) fn take(&mut self, seq: u64) -> Arrival {
        let word = seq / WORD;
        if self.words.is_empty() {
            // The first record seldom is the oldest one.
            self.base = word.saturating_sub(WINDOW_SEQS / WORD - 1);
        }
        let Some(at) = word.checked_sub(self.base) else { return Arrival::TooOld };
        let at = self.reach(at);
        let bit = 1 << (seq % WORD);
        match self.words.get_mut(at) {
            Some(word) if *word & bit != 0 => Arrival::Repeated,
            Some(word) => {
                *word |= bit;
                Arrival::New
            }
            None => Arrival::TooOld,
        }
    }

    /// Makes the word `at` positions after the base exist; its position afterwards.
    fn reach(&mut self, at: u64) -> usize {
        let last = WINDOW_SEQS / WORD - 1;
        let slide = at.saturating_sub(last);
        if slide >= self.words.len() as u64 {
            self.words.clear();
        } else {
            self.words.drain(..usize::try_from(slide).unwrap_or_default());
        }
        self.base += slide;
        let at = usize::try_from(at - slide).unwrap_or_default();
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        at
    }

    /// Takes over what `other` has taken; the number of records that both had.
    pub(in crate::detect) fn merge(&mut self, other: &Self) -> u64 {
        let mut both = 0;
        for (at, word) in other.words.iter().enumerate() {
            for bit in (0..WORD).filter(|bit| word & (1 << bit) != 0) {
                let seq = (other.base + at as u64) * WORD + bit;
                both += u64::from(self.take(seq) == Arrival::Repeated);
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_in_any_order() {
        let mut seen = Seen::default();
        for seq in [7, 3, 100, 64, 63, 0] {
            assert_eq!(seen.take(seq), Arrival::New, "{seq}");
        }
        for seq in [0, 3, 7, 63, 64, 100] {
            assert_eq!(seen.take(seq), Arrival::Repeated, "{seq}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_refused_and_memory_is_bounded() {
        let mut seen = Seen::default();
        assert_eq!(seen.take(5), Arrival::New);
        for step in 1..=20 {
            assert_eq!(seen.take(step * WINDOW_SEQS), Arrival::New);
            assert!(seen.words.len() as u64 <= WINDOW_SEQS / WORD);
        }
        assert_eq!(seen.take(5), Arrival::TooOld);
        assert_eq!(seen.take(20 * WINDOW_SEQS - 1000), Arrival::New);
        assert_eq!(seen.take(u64::MAX), Arrival::New);
        assert_eq!(seen.take(u64::MAX), Arrival::Repeated);
    }

    #[test]
    fn merged_windows_know_what_both_knew_and_count_the_overlap() {
        let (mut one, mut two) = (Seen::default(), Seen::default());
        for seq in [1, 2, 300] {
            one.take(seq);
        }
        for seq in [2, 4, 300] {
            two.take(seq);
        }
        assert_eq!(one.merge(&two), 2);
        assert_eq!([1, 2, 4, 300].map(|seq| one.take(seq)), [Arrival::Repeated; 4]);
        assert_eq!(one.take(5), Arrival::New);
    }
}
