//! What was added up in lanes becomes part of the summaries.

use std::sync::Arc;

use proto::v1::Endpoint;

use super::super::buckets::{Amount, DAY_NS, HOUR_NS};
use super::super::connection::Holder;
use super::super::lane::{Known, NOWHERE, Places};
use super::super::names::key;
use super::super::session::SLOT_NS;
use super::super::span::{Mark, Span};
use super::super::{Look, State, Subject};
use super::{Act, Actor, Added, Touch, sample};

impl State {
    /// Adds what one lane holds.
    pub(in crate::detect) fn tell(&mut self, at: u32, touch: Touch<'_>) {
        let Some((lane, sums)) = self.lanes.take(at) else { return };
        let Places { principal, session, credential } = lane.places;
        let span = Span { first: sums.first, last: sums.latest.0, count: sums.records.into() };
        let calls = if session == NOWHERE { 0 } else { span.count };
        let amount = Amount { calls, tokens: sums.tokens, nanos: sums.nanos };
        let periods = |width: u64| lane.slot / u32::try_from(width / SLOT_NS).unwrap_or(1);
        let (hour, day) = (periods(HOUR_NS), periods(DAY_NS));
        if let Some((name, known)) = self.principals.at(principal) {
            known.span.merge(&span);
            let mark = Mark { time: sums.latest.0, seq: sums.latest.1, sensor: lane.sensor };
            let about = lane.about.as_ref().filter(|_| mark > known.about.0);
            let changed = about.is_some_and(|about| known.is_now(mark, about));
            if calls > 0 {
                if let Some(dest) = known.dests.known(lane.dest_key) {
                    dest.1.merge(&span);
                }
                known.hours.add(hour, amount);
                known.days.add(day, amount);
            }
            if sums.read > 0 {
                known.read.add(day, Amount { calls: sums.read.into(), ..Amount::default() });
            }
            let soon = changed || self.asks.principal(known, hour);
            touch(&|| Subject::Principal(name.clone()), &mut known.waits, Look::by(false, soon));
        }
        if let Some((name, known)) = self.credentials.at(credential) {
            known.span.merge(&span);
            if let Some(user) = known.uses.known(lane.user) {
                user.span.merge(&span);
                if let Some(dest) = user.dests.known(lane.dest_key) {
                    dest.1.merge(&span);
                }
                user.days.add(day, amount);
            }
            touch(&|| Subject::Credential(name.clone()), &mut known.waits, Look::Later);
        }
        if let Some((name, known)) = self.sessions.at(session) {
            known.span.merge(&span);
            known.used.add(amount);
            let mut soon = self.asks.sessions;
            if sums.looping > 0
                && let Some(slot) = known.slot(lane.slot)
            {
                slot.add_all(&sums);
                soon |= self.asks.slot(slot, false);
            }
            touch(&|| Subject::Session(name.clone()), &mut known.waits, Look::by(false, soon));
        }
    }

    /// Adds what the lanes of one subject hold, so that rules see all of it.
    pub(in crate::detect) fn tell_of(&mut self, subject: &Subject, touch: Touch<'_>) {
        let lanes = match subject {
            Subject::All => return self.tell_all(touch),
            Subject::Credential(name) => {
                self.credentials.place(name).map(|place| self.lanes.of(|places| places.credential == place))
            }
            Subject::Principal(name) => {
                self.principals.place(name).map(|place| self.lanes.of(|places| places.principal == place))
            }
            Subject::Session(name) => {
                self.sessions.place(name).map(|place| self.lanes.of(|places| places.session == place))
            }
            Subject::Access(_) | Subject::Sensor(_) => None,
        };
        for at in lanes.into_iter().flatten() {
            self.tell(at, touch);
        }
    }

    /// Adds what all lanes hold.
    pub(in crate::detect) fn tell_all(&mut self, touch: Touch<'_>) {
        while let Some(at) = self.lanes.next_full() {
            self.tell(at, touch);
        }
    }

    /// Makes room in tables that are full: what is in them has other places then.
    pub(super) fn make_room(&mut self, touch: Touch<'_>) {
        if self.credentials.is_full() || self.principals.is_full() || self.sessions.is_full() {
            self.tell_all(touch);
            self.lanes.clear();
            self.credentials.make_room();
            self.principals.make_room();
            self.sessions.make_room();
        }
    }

    /// Keeps what was found out for an act, under a `hash` of all that the record says but for numbers; the lane for
    /// those that say the same.
    pub(super) fn keep(
        &mut self,
        hash: u64,
        act: &Act<'_>,
        added: Added,
        slot: u32,
        touch: Touch<'_>,
    ) -> Option<u32> {
        if let Some(at) = self.lanes.displaced(hash) {
            self.tell(at, touch);
        }
        let Added { place, about, places, after } = added;
        let (user, holder) = match &act.actor {
            Actor::Known(known) => (known.user, known.holder.clone()),
            Actor::Told(who, _) => {
                let sample = sample(&mut self.names, act.process);
                (key((&who.place, who.program)), Arc::new(Holder { place, sample }))
            }
        };
        let (dest_key, sensor) = (act.dest_key, act.mark.sensor);
        let known = Known { places, slot, user, dest_key, sensor, after, about, holder };
        self.lanes.put(hash, known, act.mark);
        self.lanes.find(hash)
    }

    /// Notes the name of a connection that a record of a lane tells.
    pub(super) fn connect(&mut self, lane: u32, mark: Mark, flow: &str, endpoint: Option<&Endpoint>) {
        if let (Some(endpoint), Some(lane)) = (endpoint, self.lanes.at(lane)) {
            self.connections.note(mark, flow, endpoint, &lane.known.holder, &mut self.names);
        }
    }
}
