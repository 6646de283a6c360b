//! What of a batch is new, and what was stored before. Pure.
//!
//! Sensors send at least once, oldest first. A stream (one boot of one sensor) is stored up to a sequence
//! number; at or below it a record is a duplicate, and a jump above it is a gap. Where a stream begins is not
//! known: a sensor may be older than its connection to the collector.

use std::collections::HashMap;

use crate::{
    batch::{Arrived, Checked},
    peer::Peer,
    state::{Progress, Stream},
};

/// Streams that are remembered. Beyond it the one that was silent longest is forgotten: if that boot ever
/// sends again what it had sent, it is stored again.
pub const MAX_STREAMS: usize = 200_000;

/// Records that are missing between two that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
}

impl Gap {
    /// How many are missing.
    pub fn numbers(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// A batch, judged.
#[derive(Debug, Default, PartialEq)]
pub struct Judged {
    /// Records to store, in order.
    pub fresh: Vec<Arrived>,
    /// Records that were stored before.
    pub duplicates: u64,
    /// Numbers that were skipped.
    pub gaps: Vec<Gap>,
    /// How far the stream is stored when `fresh` is.
    pub seq: u64,
    /// The sensor had gone on to another boot before this: two machines use one certificate.
    pub turned_back: bool,
}

/// How far every stream is stored.
#[derive(Debug, Default)]
pub struct Intake {
    streams: HashMap<Stream, Progress>,
    /// The boot that each sensor began last.
    newest: HashMap<Peer, String>,
}

impl Intake {
    /// With what was stored before.
    pub fn new(streams: impl IntoIterator<Item = (Stream, Progress)>) -> Self {
        let mut intake = Self::default();
        let mut streams: Vec<_> = streams.into_iter().collect();
        streams.sort_by_key(|(_, progress)| progress.last_seen);
        for (stream, progress) in streams {
            intake.newest.insert(stream.peer.clone(), stream.boot_id.clone());
            intake.streams.insert(stream, progress);
        }
        intake
    }

    /// Judges a batch of `peer`; nothing is remembered until [`Intake::stored`].
    pub fn judge(&self, peer: &Peer, batch: Checked) -> (Stream, Judged) {
        let stream = Stream { peer: peer.clone(), boot_id: batch.boot_id };
        let known = self.streams.get(&stream);
        let mut judged = Judged { seq: known.map_or(0, |progress| progress.seq), ..Judged::default() };
        for record in batch.records {
            let seq = record.seq;
            if seq <= judged.seq {
                judged.duplicates += 1;
                continue;
            }
            if judged.seq > 0 && seq > judged.seq + 1 {
                judged.gaps.push(Gap { from: judged.seq + 1, to: seq - 1 });
            }
            judged.seq = seq;
            judged.fresh.push(record);
        }
        let other = self.newest.get(peer).is_some_and(|newest| *newest != stream.boot_id);
        judged.turned_back = known.is_some() && other && !judged.fresh.is_empty();
        (stream, judged)
    }

    /// Notes that a stream is stored up to `seq`, at `now` of the collector's clock.
    pub fn stored(&mut self, stream: &Stream, seq: u64, now: u64) {
        let known = self.streams.contains_key(stream);
        if self.streams.len() >= MAX_STREAMS && !known {
            let oldest = self.streams.iter().min_by_key(|(_, progress)| progress.last_seen);
            if let Some(oldest) = oldest.map(|(stream, _)| stream.clone()) {
                self.streams.remove(&oldest);
                self.newest.retain(|peer, boot_id| *peer != oldest.peer || *boot_id != oldest.boot_id);
            }
        }
        if self.newest.get(&stream.peer) != Some(&stream.boot_id) {
            self.newest.insert(stream.peer.clone(), stream.boot_id.clone());
        }
        let progress = self.streams.entry(stream.clone()).or_default();
        progress.seq = progress.seq.max(seq);
        progress.last_seen = progress.last_seen.max(now);
    }

    /// How far a stream is stored.
    pub fn progress(&self, stream: &Stream) -> Option<Progress> {
        self.streams.get(stream).copied()
    }

    /// When each sensor was last heard of, by the collector's clock, nanoseconds since the epoch.
    pub fn sensors(&self) -> HashMap<&Peer, u64> {
        let mut sensors = HashMap::new();
        for (stream, progress) in &self.streams {
            let last = sensors.entry(&stream.peer).or_default();
            *last = progress.last_seen.max(*last);
        }
        sensors
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{check, tests::batch};

    fn peer() -> Peer {
        Peer::new("acme", "a").unwrap()
    }

    fn judge(intake: &Intake, boot: &str, numbers: impl IntoIterator<Item = u64>) -> (Stream, Judged) {
        intake.judge(&peer(), check(&peer(), &batch(boot, "a", numbers)).unwrap())
    }

    fn numbers(judged: &Judged) -> Vec<u64> {
        judged.fresh.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn what_was_stored_is_a_duplicate_and_a_jump_is_a_gap() {
        let mut intake = Intake::default();
        let (stream, judged) = judge(&intake, "b", [7, 8, 9]);
        assert_eq!((numbers(&judged), judged.seq, judged.gaps.len()), (vec![7, 8, 9], 9, 0));
        intake.stored(&stream, judged.seq, 9);
        let (_, judged) = judge(&intake, "b", [8, 9, 10, 14]);
        assert_eq!((numbers(&judged), judged.duplicates), (vec![10, 14], 2));
        assert_eq!(judged.gaps, [Gap { from: 11, to: 13 }]);
        let (_, other) = judge(&intake, "c", [1]);
        assert_eq!(numbers(&other), [1], "another boot has numbers of its own");
    }

    #[test]
    fn nothing_is_remembered_that_was_not_stored() {
        let intake = Intake::default();
        for _ in 0..2 {
            assert_eq!(numbers(&judge(&intake, "b", [1]).1), [1]);
        }
    }

    #[test]
    fn a_boot_that_goes_on_after_the_next_one_began_is_a_second_machine() {
        let mut intake = Intake::default();
        for (boot, seq, turned_back) in [("b", 1, false), ("b", 2, false), ("c", 1, false), ("b", 3, true)] {
            let (stream, judged) = judge(&intake, boot, [seq]);
            assert_eq!(judged.turned_back, turned_back, "{boot} {seq}");
            intake.stored(&stream, judged.seq, seq);
        }
        let streams: Vec<_> = intake.streams.clone().into_iter().collect();
        let again = Intake::new(streams);
        assert!(judge(&again, "c", [2]).1.turned_back, "also after a restart");
        assert!(!judge(&again, "c", [1]).1.turned_back, "what is sent again proves nothing");
    }

    proptest! {
        /// However often batches are sent again, each number is stored once, in order.
        #[test]
        fn sent_again_in_any_way_each_record_is_stored_once(
            cuts in prop::collection::vec((0_u64..60, 1_u64..20), 1..40)
        ) {
            let (mut intake, mut stored, mut sent) = (Intake::default(), Vec::new(), 0);
            for (back, count) in cuts {
                let from = (sent + 1_u64).saturating_sub(back).max(1);
                let (stream, judged) = judge(&intake, "b", from..from + count);
                let known = intake.progress(&stream).is_some();
                prop_assert!(judged.gaps.is_empty() || !known);
                stored.extend(numbers(&judged));
                intake.stored(&stream, judged.seq, 0);
                sent = sent.max(from + count - 1);
            }
            let first = stored.first().copied().unwrap_or(1);
            prop_assert_eq!(stored, (first..=sent).collect::<Vec<_>>());
        }
    }
}
