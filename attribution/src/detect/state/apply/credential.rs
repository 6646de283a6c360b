//! An act is added to the credential that it used.

use std::sync::Arc;

use proto::v1::Credential;

use super::super::buckets::{DAY_NS, period};
use super::super::credential::{Cred, Meta, Use};
use super::super::names::{Names, key};
use super::super::{Look, State, Subject};
use super::said::Objections;
use super::{Act, Actor, Added, Touch, sample};

impl State {
    /// Adds to the credential; its shared name.
    pub(super) fn credential(
        &mut self,
        act: &Act<'_>,
        added: &mut Added,
        credential: &Credential,
        objections: &Objections,
        touch: Touch<'_>,
    ) -> Option<Arc<str>> {
        let (time, place) = (act.mark.time, &added.place);
        let names = &mut self.names;
        let (at, mut news) = match &act.actor {
            Actor::Told(..) => self.credentials.entry_place(&credential.fingerprint)?,
            Actor::Known(known) => (known.places.credential, false),
        };
        let (name, known) = self.credentials.at(at)?;
        known.span.add(time);
        let (mut changed, user) = match &act.actor {
            Actor::Told(who, root) => {
                let mut changed = known.learn(credential, names);
                let mut user = known.uses.entry_of(
                    |user| is_same(&user.place, place) && *user.program == *who.program,
                    || key((&who.place, who.program)),
                    || Use { place: place.clone(), program: names.share(who.program), ..Use::default() },
                );
                let roots = user.as_mut().map(|(user, _)| &mut user.roots);
                changed |= roots.and_then(|roots| roots.entry(*root, || ())).is_some_and(|(_, new)| new);
                (changed, user)
            }
            // It says nothing new, and a user that was left out stays out.
            Actor::Known(it) => (false, known.uses.known(it.user).map(|user| (user, false))),
        };
        added.places.credential = at;
        if let Some((user, new)) = user {
            // Who comes back after days may be out of what a rule looks at by now.
            news |= new || time > user.span.last.saturating_add(DAY_NS);
            user.span.add(time);
            if user.evidence.add(act.mark) {
                user.sample = sample(names, act.process);
                changed = true;
            }
            if let Some((dest, new)) =
                user.dests.entry(act.dest_key, || (names.dest(act.dest), Default::default()))
            {
                dest.1.add(time);
                news |= new;
            }
            user.days.add(period(time, DAY_NS), act.amount);
            news |= user.odd(act, credential, objections, names);
            added.after = added.after.max(user.evidence.complete_after());
        }
        touch(&|| Subject::Credential(name.clone()), &mut known.waits, Look::by(news, changed));
        Some(name.clone())
    }
}

impl Cred {
    /// Takes over what a record says of the credential itself; whether that is a change.
    fn learn(&mut self, credential: &Credential, names: &mut Names) -> bool {
        let known = &self.meta;
        let told = (&*known.provider, &*known.kind, &*known.lifetime, &*known.hint);
        let new = (
            credential.provider.as_str(),
            credential.kind.as_str(),
            credential.lifetime.as_str(),
            credential.hint.as_str(),
        );
        let changed = new > told;
        if changed {
            let (provider, kind, lifetime, hint) = new;
            self.meta = Meta {
                provider: names.share(provider),
                kind: names.share(kind),
                lifetime: names.share(lifetime),
                hint: names.share(hint),
            };
        }
        changed
    }
}

impl Use {
    /// Notes what some rule objects to; whether it is new.
    fn odd(
        &mut self,
        act: &Act<'_>,
        credential: &Credential,
        objections: &Objections,
        names: &mut Names,
    ) -> bool {
        if *objections == Objections::default() {
            return false;
        }
        let odd = self.odd.get_or_insert_default();
        let mut news = false;
        for (told, span) in [(objections.in_url, &mut odd.in_url), (objections.cleartext, &mut odd.cleartext)]
        {
            if told {
                news |= span.count == 0;
                span.add(act.mark.time);
            }
        }
        if objections.wrong {
            let [provider, host, _] = act.dest;
            let dest = [provider, host, ""];
            if let Some((wrong, new)) = odd.wrong.entry(key(dest), || (names.dest(dest), Default::default()))
            {
                wrong.1.add(act.mark.time);
                news |= new;
            }
        }
        if let Some(origin) = credential.origin.as_ref().filter(|_| objections.home) {
            news |= odd.came_from(names.share(&origin.path));
        }
        news
    }
}

/// Whether two texts are the same; mostly they are in the same place, too.
pub(super) fn is_same(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
