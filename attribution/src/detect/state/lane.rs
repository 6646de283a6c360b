//! Records that say the same but for numbers, added up until somebody asks.
//!
//! What one record changes lies in a dozen places of large tables. Most calls come from somebody who called before, with
//! the same credential, to the same host, for the same model: these are added up in one small place, and the tables are
//! told once. All that is added up are sums, earliest and latest times, so it makes no difference when they are told.

use std::sync::Arc;

use super::buckets::Amount;
use super::connection::Holder;
use super::principal::About;
use super::session::SIZES;
use super::span::Mark;

/// Lanes that are kept, a power of two.
const MAX_LANES: usize = 8192;
/// Lanes that one hash can be kept in.
const WAYS: usize = 4;
const SETS: usize = MAX_LANES / WAYS;
/// Records that are added up in one lane at most.
const MOST: u8 = u8::MAX;
/// The place in a table of what a record does not name.
pub(in crate::detect) const NOWHERE: u32 = u32::MAX;

/// Where what a record changes is in its tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::detect) struct Places {
    /// The principal.
    pub(in crate::detect) principal: u32,
    /// The session; [`NOWHERE`] for flows, which are not part of one.
    pub(in crate::detect) session: u32,
    /// The credential, or [`NOWHERE`].
    pub(in crate::detect) credential: u32,
}

/// What was found out for all records of a lane.
#[derive(Debug, Clone)]
pub(in crate::detect) struct Known {
    pub(in crate::detect) places: Places,
    /// The ten minutes in which all of them lie.
    pub(in crate::detect) slot: u32,
    /// Key of the user of the credential.
    pub(in crate::detect) user: u64,
    /// Key of where to.
    pub(in crate::detect) dest_key: u64,
    /// Key of the sensor's boot.
    pub(in crate::detect) sensor: u64,
    /// A record that is not later may be the evidence of something.
    pub(in crate::detect) after: u64,
    /// What the principal is, as these records say.
    pub(in crate::detect) about: Option<Arc<About>>,
    /// Who holds the connections.
    pub(in crate::detect) holder: Arc<Holder>,
}

/// What records of a lane added up to.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::detect) struct Sums {
    /// Earliest time.
    pub(in crate::detect) first: u64,
    /// Time and number of the latest.
    pub(in crate::detect) latest: (u64, u64),
    /// Tokens and money of the calls.
    pub(in crate::detect) tokens: u64,
    pub(in crate::detect) nanos: u64,
    /// Calls that could loop, by the hash of model and input tokens.
    pub(in crate::detect) sizes: [u8; SIZES],
    pub(in crate::detect) records: u8,
    /// Calls that could loop.
    pub(in crate::detect) looping: u8,
    /// Flows whose content was read.
    pub(in crate::detect) read: u8,
    /// Whether the lane is among those that may hold something.
    listed: bool,
}

/// One record, as far as it is a number.
#[derive(Debug)]
pub(in crate::detect) struct Numbers {
    pub(in crate::detect) mark: Mark,
    /// The ten minutes it lies in.
    pub(in crate::detect) slot: u32,
    pub(in crate::detect) amount: Amount,
    /// Input tokens.
    pub(in crate::detect) input: Option<u64>,
    /// Whether it is a call that could loop.
    pub(in crate::detect) loops: bool,
    /// Whether it is a flow whose content was read.
    pub(in crate::detect) read: bool,
}

/// Records that say the same but for numbers: two cache lines.
#[derive(Debug)]
#[repr(align(64))]
pub(in crate::detect) struct Lane {
    pub(in crate::detect) known: Known,
    sums: Sums,
}

const _: () = assert!(size_of::<Lane>() == 128, "two cache lines");

/// Lanes by a hash of all that their records have alike. The hash has a key that nobody knows, so no two are made to
/// meet; what two different records said is never mixed up but by chance, once in 2 to the power of 64.
#[derive(Debug, Default)]
pub(in crate::detect) struct Lanes {
    sets: Vec<Set>,
    lanes: Vec<Lane>,
    /// Lanes that hold something.
    full: Vec<u32>,
}

/// Hashes, and where their lanes are: one cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Set([(u64, u32); WAYS]);

impl Lanes {
    /// The lane of `hash`.
    pub(in crate::detect) fn find(&self, hash: u64) -> Option<u32> {
        let set = self.sets.get(set(hash))?;
        set.0.iter().find(|(known, _)| *known == hash).map(|(_, at)| *at)
    }

    /// The lane at a place.
    pub(in crate::detect) fn at(&self, at: u32) -> Option<&Lane> {
        self.lanes.get(at as usize)
    }

    /// Adds a record that says nothing but numbers; whether it may be added, and whether the lane is full now.
    pub(in crate::detect) fn add(&mut self, at: u32, numbers: &Numbers) -> Option<bool> {
        let lane = self.lanes.get_mut(at as usize)?;
        let mark = numbers.mark;
        if numbers.slot != lane.known.slot || mark.time <= lane.known.after {
            return None;
        }
        let sums = &mut lane.sums;
        sums.first = if sums.records == 0 { mark.time } else { sums.first.min(mark.time) };
        sums.latest = sums.latest.max((mark.time, mark.seq));
        sums.tokens = sums.tokens.saturating_add(numbers.amount.tokens);
        sums.nanos = sums.nanos.saturating_add(numbers.amount.nanos);
        sums.records += 1;
        sums.looping += u8::from(numbers.loops);
        sums.read += u8::from(numbers.read);
        if let Some(input) = numbers.input.filter(|_| numbers.loops)
            && let Some(cell) = sums.sizes.get_mut(super::session::size(lane.known.dest_key, input))
        {
            *cell += 1;
        }
        if !std::mem::replace(&mut sums.listed, true) {
            self.full.push(at);
        }
        Some(sums.records == MOST)
    }

    /// Takes what was added up in a lane.
    pub(in crate::detect) fn take(&mut self, at: u32) -> Option<(&Known, Sums)> {
        let lane = self.lanes.get_mut(at as usize)?;
        let sums = lane.sums;
        // To tell the latest again changes nothing.
        lane.sums = Sums { latest: sums.latest, listed: sums.listed, ..Sums::default() };
        (sums.records > 0).then_some((&lane.known, sums))
    }

    /// The lanes that may hold something of those that `is`.
    pub(in crate::detect) fn of(&self, is: impl Fn(Places) -> bool) -> Vec<u32> {
        let held = |at: &u32| self.at(*at).is_some_and(|lane| is(lane.known.places));
        self.full.iter().copied().filter(held).collect()
    }

    /// A lane that holds something; after all of these were taken there is none.
    pub(in crate::detect) fn next_full(&mut self) -> Option<u32> {
        let at = self.full.pop()?;
        if let Some(lane) = self.lanes.get_mut(at as usize) {
            lane.sums.listed = false;
        }
        Some(at)
    }

    /// The lane that has to be taken before one of `hash` is put, for that comes in its place.
    pub(in crate::detect) fn displaced(&self, hash: u64) -> Option<u32> {
        let (known, at) = *self.sets.get(set(hash))?.0.get(self.way(hash))?;
        (known != 0).then_some(at)
    }

    /// Keeps a lane for the records of `hash`, of which `latest` is one.
    pub(in crate::detect) fn put(&mut self, hash: u64, known: Known, latest: Mark) {
        // No hash is what free ways have.
        if hash == 0 {
            return;
        }
        if self.sets.is_empty() {
            self.sets.resize(SETS, Set::default());
        }
        let way = self.way(hash);
        let Some(way) = self.sets.get_mut(set(hash)).and_then(|set| set.0.get_mut(way)) else { return };
        let sums = Sums { latest: (latest.time, latest.seq), ..Sums::default() };
        if way.0 == 0 {
            let Ok(at) = u32::try_from(self.lanes.len()) else { return };
            self.lanes.push(Lane { known, sums });
            *way = (hash, at);
        } else if let Some(lane) = self.lanes.get_mut(way.1 as usize) {
            let listed = lane.sums.listed;
            *lane = Lane { known, sums: Sums { listed, ..sums } };
            way.0 = hash;
        }
    }

    /// Which of its ways a hash has, or takes: a free one, else the one used least recently.
    fn way(&self, hash: u64) -> usize {
        let Some(set) = self.sets.get(set(hash)) else { return 0 };
        let cost = |(known, at): &(u64, u32)| match *known {
            same if same == hash => (0, 0),
            0 => (1, 0),
            _ => (2, self.at(*at).map_or(0, |lane| lane.sums.latest.0)),
        };
        (0..WAYS).min_by_key(|way| set.0.get(*way).map(cost)).unwrap_or(0)
    }

    /// Forgets all; what they hold has to be taken before.
    pub(in crate::detect) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The set that a hash is kept in. Its lower bits choose.
fn set(hash: u64) -> usize {
    (hash % SETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(principal: u32) -> Known {
        let places = Places { principal, session: NOWHERE, credential: NOWHERE };
        Known {
            places,
            slot: 1,
            user: 0,
            dest_key: 7,
            sensor: 0,
            after: 10,
            about: None,
            holder: Arc::default(),
        }
    }

    fn numbers(time: u64) -> Numbers {
        let mark = Mark { time, seq: time, sensor: 0 };
        let amount = Amount { calls: 1, tokens: 5, nanos: 2 };
        Numbers { mark, slot: 1, amount, input: Some(3), loops: true, read: false }
    }

    #[test]
    fn records_are_added_up_and_taken_once() {
        let mut lanes = Lanes::default();
        assert_eq!((lanes.find(9), lanes.displaced(9)), (None, None));
        lanes.put(9, known(4), Mark::default());
        let at = lanes.find(9).unwrap();
        for time in [30, 20, 25] {
            assert_eq!(lanes.add(at, &numbers(time)), Some(false));
        }
        // One that may be evidence, and one of another ten minutes.
        assert_eq!(lanes.add(at, &numbers(10)), None);
        assert_eq!(lanes.add(at, &Numbers { slot: 2, ..numbers(40) }), None);
        assert_eq!(lanes.of(|places| places.principal == 4), [at]);
        assert!(lanes.of(|places| places.principal == 5).is_empty());
        let (_, sums) = lanes.take(at).unwrap();
        assert_eq!((sums.first, sums.latest, sums.records, sums.tokens), (20, (30, 30), 3, 15));
        assert_eq!((sums.looping, sums.sizes.iter().sum::<u8>(), sums.nanos), (3, 3, 6));
        assert!(lanes.take(at).is_none());
        assert_eq!((lanes.next_full(), lanes.next_full()), (Some(at), None));
    }

    #[test]
    fn a_full_lane_says_so_before_it_overflows() {
        let mut lanes = Lanes::default();
        lanes.put(9, known(4), Mark::default());
        let full = (0..MOST).map(|time| lanes.add(0, &numbers(100 + u64::from(time))));
        assert_eq!(full.filter(|full| *full == Some(true)).count(), 1);
        assert_eq!(lanes.take(0).unwrap().1.records, MOST);
    }

    #[test]
    fn of_too_many_the_one_used_least_recently_goes() {
        let mut lanes = Lanes::default();
        let hash = |number: u64| 5 + number * SETS as u64;
        for number in 0..WAYS as u64 {
            assert_eq!(lanes.displaced(hash(number)), None);
            lanes.put(hash(number), known(number as u32), Mark { time: 100 - number, ..Mark::default() });
        }
        let oldest = lanes.find(hash(3));
        assert_eq!(lanes.displaced(hash(9)), oldest);
        lanes.put(hash(9), known(9), Mark { time: 200, ..Mark::default() });
        assert_eq!((lanes.find(hash(3)), lanes.find(hash(9))), (None, oldest));
        assert_eq!(lanes.lanes.len(), WAYS);
        lanes.clear();
        assert_eq!(lanes.find(hash(9)), None);
    }
}
