//! When something was seen, how often, and which records say so.

use super::few::Few;

/// Records kept as evidence for one participant: the earliest ones.
const MAX_EVIDENCE: usize = 4;

/// One record: its time and its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::detect) struct Mark {
    /// Nanoseconds since the epoch.
    pub(in crate::detect) time: u64,
    /// Sequence number.
    pub(in crate::detect) seq: u64,
    /// Key of the sensor's boot.
    pub(in crate::detect) sensor: u64,
}

/// First and last time, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::detect) struct Span {
    /// Earliest time.
    pub(in crate::detect) first: u64,
    /// Latest time.
    pub(in crate::detect) last: u64,
    /// Records.
    pub(in crate::detect) count: u64,
}

/// The earliest records of a kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct Evidence {
    marks: Few<Mark>,
    /// Time after which no record belongs to the earliest; 0 while there are few.
    until: u64,
}

impl Span {
    /// Counts a record.
    pub(in crate::detect) fn add(&mut self, time: u64) {
        self.merge(&Self { first: time, last: time, count: 1 });
    }

    /// Adds what `other` counted.
    pub(in crate::detect) fn merge(&mut self, other: &Self) {
        if other.count > 0 {
            self.first = if self.count == 0 { other.first } else { self.first.min(other.first) };
            self.last = self.last.max(other.last);
            self.count += other.count;
        }
    }
}

impl Evidence {
    /// Takes a record if it is one of the earliest; whether it is the very earliest.
    pub(in crate::detect) fn add(&mut self, mark: Mark) -> bool {
        if self.until != 0 && mark.time > self.until {
            return false;
        }
        let at = self.marks().partition_point(|known| *known < mark);
        if at == MAX_EVIDENCE || self.marks().get(at) == Some(&mark) {
            return false;
        }
        if self.marks().len() == MAX_EVIDENCE {
            self.marks.pop();
        }
        self.marks.insert(at, mark);
        self.until = self.marks().get(MAX_EVIDENCE - 1).map_or(0, |last| last.time);
        at == 0
    }

    /// Time after which no record is taken any more; the end of time while there are few.
    pub(in crate::detect) fn complete_after(&self) -> u64 {
        if self.until == 0 { u64::MAX } else { self.until }
    }

    /// Takes over `other`'s records; whether one of them is the earliest now.
    pub(in crate::detect) fn merge(&mut self, other: &Self) -> bool {
        let mut earliest = false;
        for mark in other.marks() {
            earliest |= self.add(*mark);
        }
        earliest
    }

    /// The records, earliest first.
    pub(in crate::detect) fn marks(&self) -> &[Mark] {
        self.marks.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_the_earliest_records_in_any_order() {
        let mark = |time| Mark { time, seq: time, sensor: 1 };
        let mut evidence = Evidence::default();
        let earliest: Vec<bool> = [5, 9, 3, 7, 8, 1, 9].map(|time| evidence.add(mark(time))).into();
        assert_eq!(earliest, [true, false, true, false, false, true, false]);
        assert_eq!(evidence.marks(), [1, 3, 5, 7].map(mark));
        let mut other = Evidence::default();
        other.add(mark(2));
        assert!(!evidence.merge(&other));
        assert_eq!(evidence.marks(), [1, 2, 3, 5].map(mark));
    }

    #[test]
    fn spans_add_up_and_an_empty_one_says_nothing() {
        let mut span = Span::default();
        for time in [50, 20, 30] {
            span.add(time);
        }
        span.merge(&Span::default());
        assert_eq!(span, Span { first: 20, last: 50, count: 3 });
    }
}
