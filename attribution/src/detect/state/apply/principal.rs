//! An act is added to its principal.

use std::hash::BuildHasher;
use std::sync::Arc;

use proto::v1::Workload;

use super::super::buckets::{DAY_NS, HOUR_NS, period};
use super::super::names::{Names, key};
use super::super::principal::{About, Principal};
use super::super::{Look, State, Subject};
use super::said::lasting;
use super::{Act, Actor, Added, Touch, sample};
use crate::detect::facts::Who;

impl State {
    /// Adds to the principal.
    pub(super) fn principal(&mut self, act: &Act<'_>, touch: Touch<'_>) -> Option<Added> {
        let time = act.mark.time;
        let names = &mut self.names;
        let (at, mut news) = match &act.actor {
            Actor::Told(who, _) => self.principals.entry_place(&who.place)?,
            Actor::Known(known) => (known.places.principal, false),
        };
        let (name, known) = self.principals.at(at)?;
        known.span.add(time);
        if known.evidence.add(act.mark) {
            known.sample = sample(names, act.process);
        }
        let about = match &act.actor {
            Actor::Told(..) => known.about(act, names),
            Actor::Known(lane) => lane.about.clone(),
        };
        if let Some(about) = about.as_ref().filter(|_| act.mark > known.about.0) {
            news |= known.is_now(act.mark, about);
        }
        if act.amount.calls > 0 {
            if let Some((dest, new)) =
                known.dests.entry(act.dest_key, || (names.dest(act.dest), Default::default()))
            {
                dest.1.add(time);
                news |= new;
            }
            known.hours.add(period(time, HOUR_NS), act.amount);
            known.days.add(period(time, DAY_NS), act.amount);
        }
        let look = Look::by(news, self.asks.principal(known, period(time, HOUR_NS)));
        touch(&|| Subject::Principal(name.clone()), &mut known.waits, look);
        Some(Added::to(at, name.clone(), about, known.evidence.complete_after()))
    }

    /// Key of the oldest process of a tree that means something.
    pub(super) fn root(&mut self, sensor: u64, host: &str, who: &Who<'_>) -> u64 {
        let (pid, start) = who.root;
        let hash = self.hasher.hash_one((sensor, pid, start));
        if let Some((.., root)) =
            self.roots.get(hash, |known| (known.0, known.1, known.2) == (sensor, pid, start))
        {
            return *root;
        }
        let root = key((host, pid, start));
        self.roots.put(hash, (sensor, pid, start, root));
        root
    }
}

impl Principal {
    /// What an act says of the workload; the known form if it says the same.
    fn about(&self, act: &Act<'_>, names: &mut Names) -> Option<Arc<About>> {
        let workload = act.workload?;
        let known = &self.about.1;
        if *known.host == *act.host && lasting(&known.workload) == lasting(workload) {
            return Some(known.clone());
        }
        let (id, kind, namespace, name, service_account, unit, spiffe_id, labels) = lasting(workload);
        let workload = Workload {
            id: id.clone(),
            kind: kind.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            service_account: service_account.clone(),
            unit: unit.clone(),
            spiffe_id: spiffe_id.clone(),
            labels: labels.clone(),
            ..Workload::default()
        };
        Some(Arc::new(About { host: names.share(act.host), workload }))
    }
}
