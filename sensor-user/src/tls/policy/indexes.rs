//! Which of the kernel's [`MAX_TARGETS`] places are taken.

use std::{collections::VecDeque, ops::Range};

use sensor_common::tls::MAX_TARGETS;

/// Places that were never used are given first, then those that were given back longest ago: a flow that began under
/// the last owner of a place has most likely ended.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    next: u32,
    back: VecDeque<Range<u32>>,
}

impl Indexes {
    /// `count` places side by side; nothing when all are taken.
    pub(super) fn take(&mut self, count: u32) -> Option<Range<u32>> {
        let end = self.next.checked_add(count)?;
        if end <= MAX_TARGETS {
            let given = self.next..end;
            self.next = end;
            return Some(given);
        }
        let wide = |range: &Range<u32>| range.len() as u32 >= count;
        let mut range = self.back.remove(self.back.iter().position(wide)?)?;
        let given = range.start..range.start + count;
        range.start = given.end;
        if !range.is_empty() {
            self.back.push_front(range);
        }
        Some(given)
    }

    /// Gives places back.
    pub(super) fn give_back(&mut self, range: Range<u32>) {
        if !range.is_empty() {
            self.back.push_back(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_only_when_none_is_left_and_the_oldest_first() {
        let mut indexes = Indexes::default();
        let first = indexes.take(2).unwrap();
        let second = indexes.take(1).unwrap();
        indexes.give_back(first);
        indexes.give_back(second);
        for next in 3..MAX_TARGETS {
            assert_eq!(indexes.take(1), Some(next..next + 1));
        }
        assert_eq!(indexes.take(1), Some(0..1));
        assert_eq!(indexes.take(2), None);
        assert_eq!(indexes.take(1), Some(1..2));
        assert_eq!(indexes.take(1), Some(2..3));
        assert_eq!(indexes.take(1), None);
    }
}
