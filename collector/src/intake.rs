//! What of a batch is new, what was stored before, and what must not be believed. Pure.
//!
//! Sensors send at least once, oldest first. A stream (one boot of one sensor) is stored up to a sequence
//! number; at or below it a record is a duplicate, and a jump above it is a gap that is told, once.

use std::collections::HashMap;

use proto::v1::{Batch, Record};

use crate::{
    peer::Peer,
    state::{Progress, Stream},
};

/// Records in one batch.
pub const MAX_BATCH: usize = 4096;
/// Streams that are remembered. Beyond it the one that was silent longest is forgotten: if that boot ever
/// sends again what it had sent, it is stored again.
pub const MAX_STREAMS: usize = 200_000;
/// A boot id is a UUID (random(4)); anything longer is refused.
const MAX_BOOT_ID: usize = 64;

/// Records that are missing between two that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
}

/// A batch, judged.
#[derive(Debug, Default, PartialEq)]
pub struct Judged {
    /// Records to store, in order.
    pub fresh: Vec<Record>,
    /// Records that were stored before.
    pub duplicates: u64,
    /// Numbers that were skipped.
    pub gaps: Vec<Gap>,
    /// How far the stream is stored when `fresh` is.
    pub seq: u64,
}

/// Why a batch is not taken, as a sentence for the sensor's log.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Records of another host than the certificate's.
    #[error("the batch has records of host `{claimed}`, and the certificate is for `{host}`")]
    Forged {
        /// What the records say.
        claimed: String,
        /// What the certificate says.
        host: String,
    },
    /// Not what a sensor sends.
    #[error("{0}")]
    Malformed(&'static str),
}

/// How far every stream is stored.
#[derive(Debug, Default)]
pub struct Intake {
    streams: HashMap<Stream, Progress>,
}

impl Intake {
    /// With what was stored before.
    pub fn new(streams: impl IntoIterator<Item = (Stream, Progress)>) -> Self {
        Self { streams: streams.into_iter().collect() }
    }

    /// Judges a batch of `peer`; nothing is remembered until [`Intake::stored`].
    pub fn judge(&self, peer: &Peer, batch: Batch) -> Result<(Stream, Judged), Refused> {
        check(peer, &batch)?;
        let stream = Stream { peer: peer.clone(), boot_id: batch.boot_id };
        let known = self.streams.get(&stream);
        let mut judged = Judged { seq: known.map_or(0, |progress| progress.seq), ..Judged::default() };
        for record in batch.records {
            let seq = record.sensor.as_ref().map_or(0, |sensor| sensor.seq);
            if seq <= judged.seq {
                judged.duplicates += 1;
                continue;
            }
            if seq > judged.seq + 1 {
                judged.gaps.push(Gap { from: judged.seq + 1, to: seq - 1 });
            }
            judged.seq = seq;
            judged.fresh.push(record);
        }
        Ok((stream, judged))
    }

    /// Notes that a stream is stored up to `seq`, at `now` of the collector's clock.
    pub fn stored(&mut self, stream: &Stream, seq: u64, now: u64) -> Progress {
        if self.streams.len() >= MAX_STREAMS && !self.streams.contains_key(stream) {
            let oldest = self.streams.iter().min_by_key(|(_, progress)| progress.last_seen);
            if let Some(oldest) = oldest.map(|(stream, _)| stream.clone()) {
                self.streams.remove(&oldest);
            }
        }
        let progress = self.streams.entry(stream.clone()).or_default();
        progress.seq = progress.seq.max(seq);
        progress.last_seen = progress.last_seen.max(now);
        *progress
    }

    /// Every stream and how far it is stored.
    pub fn streams(&self) -> impl Iterator<Item = (&Stream, &Progress)> {
        self.streams.iter()
    }
}

fn check(peer: &Peer, batch: &Batch) -> Result<(), Refused> {
    if batch.boot_id.is_empty() || batch.boot_id.len() > MAX_BOOT_ID {
        return Err(Refused::Malformed("the batch names no boot"));
    }
    if batch.records.len() > MAX_BATCH {
        return Err(Refused::Malformed("the batch has too many records"));
    }
    let mut before = 0;
    for record in &batch.records {
        let sensor = record.sensor.as_ref().ok_or(Refused::Malformed("a record names no sensor"))?;
        if sensor.host != peer.host {
            return Err(Refused::Forged { claimed: sensor.host.clone(), host: peer.host.clone() });
        }
        if sensor.boot_id != batch.boot_id {
            return Err(Refused::Malformed("a record is of another boot than its batch"));
        }
        if sensor.seq <= before {
            return Err(Refused::Malformed("the records are not in the order of their numbers"));
        }
        before = sensor.seq;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::v1::Sensor;

    use super::*;

    fn peer() -> Peer {
        Peer::new("acme", "a").unwrap()
    }

    fn batch(boot: &str, host: &str, numbers: impl IntoIterator<Item = u64>) -> Batch {
        let record = |seq| Record {
            sensor: Some(Sensor { host: host.into(), boot_id: boot.into(), seq }),
            ..Record::default()
        };
        Batch { boot_id: boot.into(), records: numbers.into_iter().map(record).collect(), ..Batch::default() }
    }

    fn numbers(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.sensor.as_ref().unwrap().seq).collect()
    }

    #[test]
    fn what_was_stored_is_a_duplicate_and_a_jump_is_a_gap() {
        let mut intake = Intake::default();
        let (stream, judged) = intake.judge(&peer(), batch("b", "a", [1, 2, 3])).unwrap();
        assert_eq!((numbers(&judged.fresh), judged.seq, judged.gaps.len()), (vec![1, 2, 3], 3, 0));
        intake.stored(&stream, judged.seq, 9);
        let (_, judged) = intake.judge(&peer(), batch("b", "a", [2, 3, 4, 8])).unwrap();
        assert_eq!((numbers(&judged.fresh), judged.duplicates), (vec![4, 8], 2));
        assert_eq!(judged.gaps, [Gap { from: 5, to: 7 }]);
        let (_, other) = intake.judge(&peer(), batch("c", "a", [1])).unwrap();
        assert_eq!(numbers(&other.fresh), [1], "another boot has numbers of its own");
    }

    #[test]
    fn nothing_is_remembered_that_was_not_stored() {
        let intake = Intake::default();
        for _ in 0..2 {
            let (_, judged) = intake.judge(&peer(), batch("b", "a", [1])).unwrap();
            assert_eq!(numbers(&judged.fresh), [1]);
        }
    }

    #[test]
    fn a_claim_against_the_certificate_and_disorder_are_refused() {
        let intake = Intake::default();
        let forged = intake.judge(&peer(), batch("b", "other", [1])).unwrap_err();
        assert_eq!(forged, Refused::Forged { claimed: "other".into(), host: "a".into() });
        for wrong in [batch("", "a", [1]), batch("b", "a", [2, 1]), batch("b", "a", [1, 1]), batch("b", "a", [0])] {
            assert!(matches!(intake.judge(&peer(), wrong), Err(Refused::Malformed(_))));
        }
        let mut mixed = batch("b", "a", [1]);
        mixed.boot_id = "c".into();
        assert!(matches!(intake.judge(&peer(), mixed), Err(Refused::Malformed(_))));
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
                let (stream, judged) = intake.judge(&peer(), batch("b", "a", from..from + count)).unwrap();
                prop_assert!(judged.gaps.is_empty());
                stored.extend(numbers(&judged.fresh));
                intake.stored(&stream, judged.seq, 0);
                sent = sent.max(from + count - 1);
            }
            prop_assert_eq!(stored, (1..=sent).collect::<Vec<_>>());
        }
    }
}
