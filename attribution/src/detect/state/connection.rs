//! The names that connections went by.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use proto::v1::Endpoint;

use super::credential::Sample;
use super::names::{Dest, Names, key};
use super::span::{Evidence, Mark, Span};

/// Who has a connection.
#[derive(Debug, Default)]
pub(in crate::detect) struct Holder {
    /// The principal.
    pub(in crate::detect) place: Arc<str>,
    /// The process.
    pub(in crate::detect) sample: Sample,
}

/// A name, with the earliest record that says so.
#[derive(Debug)]
pub(in crate::detect) struct Named {
    mark: Mark,
    /// The host, and whose it is; without a model.
    pub(in crate::detect) dest: Arc<Dest>,
}

/// The names that one connection went by.
#[derive(Debug, Default)]
pub(in crate::detect) struct Connection {
    /// Keys of flow and sensor.
    key: (u64, u64),
    /// Whether it was seen since the table last looked for room.
    used: bool,
    /// Who has it, by the earliest record.
    pub(in crate::detect) holder: Arc<Holder>,
    /// By SNI or DNS.
    pub(in crate::detect) network: Option<Named>,
    /// By the `Host` of a request.
    pub(in crate::detect) request: Option<Named>,
    /// By the name under which DNS gave its address, when it gave the other name other addresses.
    pub(in crate::detect) address: Option<Named>,
    /// Its records.
    pub(in crate::detect) span: Span,
    /// The earliest of them.
    pub(in crate::detect) evidence: Evidence,
}

/// Connections, at most `limit`. A full table forgets one that was not seen for a round (Corbató's clock, 1968): there are
/// too many new ones to look through all for the oldest.
#[derive(Debug)]
pub(in crate::detect) struct Connections {
    places: HashTable<u32>,
    hasher: RandomState,
    all: Vec<Connection>,
    limit: usize,
    /// Where room is looked for next.
    hand: usize,
    /// Connections forgotten because the table was full.
    pub(in crate::detect) forgotten: u64,
}

impl Connections {
    /// An empty table.
    pub(in crate::detect) fn new(limit: usize) -> Self {
        let (places, hasher) = (HashTable::new(), RandomState::default());
        Self { places, hasher, all: Vec::new(), limit, hand: 0, forgotten: 0 }
    }

    /// Notes the name that a flow goes by.
    pub(in crate::detect) fn note(
        &mut self,
        mark: Mark,
        flow: &str,
        endpoint: &Endpoint,
        holder: &Arc<Holder>,
        names: &mut Names,
    ) {
        if flow.is_empty() || endpoint.host.is_empty() {
            return;
        }
        let Some(known) = self.entry((key(flow), mark.sensor)) else { return };
        known.span.add(mark.time);
        if known.evidence.add(mark) {
            known.holder = holder.clone();
        }
        let by_request = endpoint.host_evidence == "http_host";
        let own = if by_request { &mut known.request } else { &mut known.network };
        Named::note(own, mark, [&endpoint.provider, &endpoint.host], names);
        Named::note(&mut known.request, mark, ["", &endpoint.request_host], names);
        Named::note(&mut known.address, mark, ["", &endpoint.dns_host], names);
    }

    /// All of them, in no order.
    pub(in crate::detect) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.all.iter()
    }

    /// Adds everything of `other`.
    pub(in crate::detect) fn merge(&mut self, other: Self) {
        self.forgotten += other.forgotten;
        for one in other.all {
            if let Some(known) = self.entry(one.key) {
                known.merge(one);
            }
        }
    }

    fn entry(&mut self, key: (u64, u64)) -> Option<&mut Connection> {
        let hash = self.hasher.hash_one(key);
        let is = |at: &u32| self.all.get(*at as usize).is_some_and(|known| known.key == key);
        if let Some(at) = self.places.find(hash, is) {
            let known = self.all.get_mut(*at as usize)?;
            known.used = true;
            return Some(known);
        }
        let at = self.room();
        let place = u32::try_from(at).ok()?;
        let (all, hasher) = (&self.all, &self.hasher);
        let again =
            |at: &u32| hasher.hash_one(all.get(*at as usize).map(|known| known.key).unwrap_or_default());
        self.places.insert_unique(hash, place, again);
        let known = self.all.get_mut(at)?;
        *known = Connection { key, ..Connection::default() };
        Some(known)
    }

    /// A place for another one.
    fn room(&mut self) -> usize {
        if self.all.len() < self.limit {
            self.all.push(Connection::default());
            return self.all.len() - 1;
        }
        // After one round nothing counts as used.
        for _ in 0..=self.all.len() {
            self.hand = (self.hand + 1) % self.all.len().max(1);
            if self.all.get_mut(self.hand).is_some_and(|known| !std::mem::take(&mut known.used)) {
                break;
            }
        }
        let at = self.hand;
        let hash = self.hasher.hash_one(self.all.get(at).map(|known| known.key).unwrap_or_default());
        if let Ok(place) = self.places.find_entry(hash, |place| *place as usize == at) {
            place.remove();
        }
        self.forgotten += 1;
        at
    }
}

impl Connection {
    fn merge(&mut self, other: Self) {
        self.span.merge(&other.span);
        if self.evidence.merge(&other.evidence) {
            self.holder = other.holder;
        }
        for (known, new) in [
            (&mut self.network, other.network),
            (&mut self.request, other.request),
            (&mut self.address, other.address),
        ] {
            if new.as_ref().is_some_and(|new| Named::is_earlier(known, new.mark)) {
                *known = new;
            }
        }
    }
}

impl Named {
    /// Puts what a record says in `known` when that is earlier; an empty host says nothing.
    fn note(known: &mut Option<Self>, mark: Mark, [provider, host]: [&str; 2], names: &mut Names) {
        if !host.is_empty() && Self::is_earlier(known, mark) {
            *known = Some(Self { mark, dest: names.dest([provider, host, ""]) });
        }
    }

    fn is_earlier(known: &Option<Self>, mark: Mark) -> bool {
        known.as_ref().is_none_or(|known| mark < known.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(all: &mut Connections, flow: u64) {
        let (endpoint, mut names) = (Endpoint { host: "h".into(), ..Endpoint::default() }, Names::default());
        all.note(
            Mark { time: flow, seq: flow, sensor: 1 },
            &flow.to_string(),
            &endpoint,
            &Arc::default(),
            &mut names,
        );
    }

    fn knows(all: &Connections, flow: u64) -> bool {
        all.iter().any(|known| known.key.0 == key(flow.to_string().as_str()))
    }

    #[test]
    fn a_full_table_forgets_one_that_was_not_seen_again() {
        let mut all = Connections::new(8);
        (0..8).for_each(|flow| note(&mut all, flow));
        note(&mut all, 1);
        note(&mut all, 2);
        for flow in 100..103 {
            note(&mut all, flow);
            assert_eq!(all.places.len(), 8);
        }
        assert_eq!((all.all.len(), all.forgotten), (8, 3));
        for flow in [1, 2, 100, 101, 102] {
            assert!(knows(&all, flow), "{flow}");
        }
        // All were seen: one goes nevertheless.
        let known: Vec<u64> = (0..8).chain(100..103).filter(|flow| knows(&all, *flow)).collect();
        known.iter().for_each(|flow| note(&mut all, *flow));
        note(&mut all, 200);
        assert!(knows(&all, 200) && all.forgotten == 4);
    }
}
