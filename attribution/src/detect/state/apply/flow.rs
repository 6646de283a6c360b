//! A connection that ended.

use std::hash::BuildHasher;

use proto::v1::{self, Credential};

use super::super::State;
use super::super::buckets::{Amount, DAY_NS, period};
use super::super::lane::Numbers;
use super::super::names::key;
use super::super::principal::Unseen;
use super::super::session::SLOT_NS;
use super::super::span::Mark;
use super::super::{Look, Subject};
use super::said::{self, Objections};
use super::{Act, Actor, Touch};
use crate::detect::facts::who;

impl State {
    pub(super) fn flow(&mut self, mark: Mark, host: &str, flow: &v1::Flow, touch: Touch<'_>) {
        let Some(process) = flow.process.as_ref() else { return };
        let (dest, workload) = (said::dest(flow.endpoint.as_ref(), ""), flow.workload.as_ref());
        // A flow repeats the credential of its calls; only an inferred one is news.
        let inferred = |one: &&Credential| one.evidence == "inferred" && !one.fingerprint.is_empty();
        let inferred = flow.credential.as_ref().filter(inferred);
        let unread = flow.tls.as_ref().filter(|tls| tls.coverage == "none");
        let numbers = Numbers {
            mark,
            slot: period(mark.time, SLOT_NS),
            amount: Amount::default(),
            input: None,
            loops: false,
            read: flow.tls.is_some() && unread.is_none(),
        };
        // Calls have other parts, so no call has the hash of a flow.
        let hash = self.hasher.hash_one(("flow", mark.sensor, said::actor(process, workload), dest));
        let lane = self.lanes.find(hash);
        if let Some(at) = lane.filter(|_| inferred.is_none() && unread.is_none())
            && let Some(full) = self.lanes.add(at, &numbers)
        {
            if full {
                self.tell(at, touch);
            }
            self.connect(at, mark, &flow.id, flow.endpoint.as_ref());
            return;
        }
        let Some(who) = who(host, Some(process), workload) else { return };
        let (dest_key, root) = (self.names.dest_key(dest), self.root(mark.sensor, host, &who));
        let (actor, amount) = (Actor::Told(who, root), Amount::default());
        let act = Act { mark, host, process, actor, workload, amount, dest, dest_key };
        let Some(mut added) = self.principal(&act, touch) else { return };
        if numbers.read {
            self.read(added.places.principal, &numbers);
        }
        if let Some(tls) = unread {
            self.unread(&act, added.places.principal, &tls.coverage_reason, touch);
        }
        if let Some(credential) = inferred {
            let objections = Objections::to(credential, dest[0], false);
            self.credential(&act, &mut added, credential, &objections, touch);
        }
        if let Some(at) = self.keep(hash, &act, added, numbers.slot, touch) {
            self.connect(at, mark, &flow.id, flow.endpoint.as_ref());
        }
    }

    /// Counts a flow whose content was read.
    fn read(&mut self, principal: u32, numbers: &Numbers) {
        if let Some((_, known)) = self.principals.at(principal) {
            known.read.add(period(numbers.mark.time, DAY_NS), Amount { calls: 1, ..Amount::default() });
        }
    }

    /// Counts a flow whose content was not read.
    fn unread(&mut self, act: &Act<'_>, principal: u32, reason: &str, touch: Touch<'_>) {
        let names = &mut self.names;
        let Some((name, known)) = self.principals.at(principal) else { return };
        let mut news = false;
        if let Some((unseen, new)) = known.unseen.entry(key((act.dest_key, reason)), || Unseen {
            dest: names.dest(act.dest),
            reason: names.share(reason),
            ..Unseen::default()
        }) {
            unseen.span.add(act.mark.time);
            unseen.days.add(period(act.mark.time, DAY_NS), Amount { calls: 1, ..Amount::default() });
            news = new;
        }
        touch(&|| Subject::Principal(name.clone()), &mut known.waits, Look::if_new(news));
    }
}
