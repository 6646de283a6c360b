//! A call is added to its session, or to its process tree when it has none.

use std::sync::Arc;

use super::super::names::{key, mixed};
use super::super::session::size;
use super::super::{Look, State, Subject};
use super::call::Call;
use super::credential::is_same;
use super::{Act, Actor, Added, Touch, sample};

impl State {
    /// Adds to the session that was told, or that of the process tree.
    pub(super) fn session(
        &mut self,
        act: &Act<'_>,
        added: &mut Added,
        call: &Call<'_>,
        key_name: Option<Arc<str>>,
        touch: Touch<'_>,
    ) -> Option<()> {
        let at = match (&act.actor, call.session) {
            (Actor::Known(known), _) => known.places.session,
            (Actor::Told(..), Some(id)) => self.sessions.entry_place(id)?.0,
            (Actor::Told(_, root), None) => {
                self.scratch.clear();
                self.scratch.push_str("tree-");
                push_hex(&mut self.scratch, *root);
                self.sessions.entry_place(&self.scratch)?.0
            }
        };
        let (name, known) = self.sessions.at(at)?;
        known.span.add(act.mark.time);
        known.told |= call.session.is_some();
        if known.evidence.add(act.mark) {
            known.place = added.place.clone();
            known.sample = sample(&mut self.names, act.process);
        }
        known.used.add(act.amount);
        if let (Actor::Told(..), Some(one)) = (&act.actor, &key_name) {
            known.keys.entry_of(|known| is_same(known, one), || key(&**one), || one.clone());
        }
        let mut news = false;
        if call.orphaned {
            news = known.orphans.count == 0;
            known.orphans.add(act.mark.time);
            known.orphan_evidence.add(act.mark);
        }
        let mut soon = self.asks.sessions;
        if call.numbers.loops
            && let Some(slot) = known.slot(call.numbers.slot)
        {
            let cell = call.numbers.input.map(|input| size(act.dest_key, input));
            let process = mixed(act.process.start_time, act.process.pid.into());
            let caller = slot.add(call.failed, cell, process);
            soon |= self.asks.slot(slot, caller);
        }
        (added.places.session, added.after) = (at, added.after.max(known.evidence.complete_after()));
        touch(&|| Subject::Session(name.clone()), &mut known.waits, Look::by(news, soon));
        Some(())
    }
}

/// Adds a number as sixteen hexadecimal digits.
fn push_hex(text: &mut String, number: u64) {
    let digit = |shift: u32| char::from_digit((number >> shift & 0xf) as u32, 16).unwrap_or_default();
    text.extend((0..u64::BITS).step_by(4).rev().map(digit));
}
