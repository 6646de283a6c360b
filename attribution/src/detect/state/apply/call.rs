//! A call to a model.

use std::hash::BuildHasher;

use proto::v1::{self, Credential, ModelCall};

use super::super::State;
use super::super::buckets::{Amount, period};
use super::super::lane::Numbers;
use super::super::session::SLOT_NS;
use super::super::span::Mark;
use super::said::{self, Objections};
use super::{Act, Actor, Touch};
use crate::detect::facts::{nanos, who};

/// Operations whose requests are alike by nature.
const BATCH_OPERATIONS: [&str; 3] = ["embeddings", "rerank", "moderations"];

/// A call as the summaries count it.
pub(super) struct Call<'a> {
    pub(super) numbers: Numbers,
    /// Credential, when it has a fingerprint.
    pub(super) credential: Option<&'a Credential>,
    pub(super) objections: Objections,
    /// The session that the sensor told.
    pub(super) session: Option<&'a str>,
    pub(super) failed: bool,
    pub(super) orphaned: bool,
}

impl State {
    pub(super) fn call(&mut self, mark: Mark, host: &str, call: &ModelCall, touch: Touch<'_>) {
        let Some(process) = call.process.as_ref() else { return };
        let model = [&call.model_requested, &call.model_served].into_iter().find(|model| !model.is_empty());
        let dest = said::dest(call.endpoint.as_ref(), model.map(String::as_str).unwrap_or_default());
        let counted = Call::new(mark, call, dest);
        let (workload, amount) = (call.workload.as_ref(), counted.numbers.amount);
        let hash = self.hasher.hash_one((
            mark.sensor,
            said::actor(process, workload),
            dest,
            counted.session,
            said::facts(counted.credential),
        ));
        let lane = self.lanes.find(hash);
        if let Some(at) = lane.filter(|_| counted.is_usual())
            && let Some(full) = self.lanes.add(at, &counted.numbers)
        {
            if full {
                self.tell(at, touch);
            }
            self.connect(at, mark, &call.flow_id, call.endpoint.as_ref());
            return;
        }
        let known = lane.and_then(|at| self.lanes.at(at)).map(|lane| lane.known.clone());
        let (actor, dest_key) = match &known {
            Some(known) => (Actor::Known(known), known.dest_key),
            None => {
                let Some(who) = who(host, Some(process), workload) else { return };
                let root = self.root(mark.sensor, host, &who);
                (Actor::Told(who, root), self.names.dest_key(dest))
            }
        };
        let act = Act { mark, host, process, actor, workload, amount, dest, dest_key };
        let Some(mut added) = self.principal(&act, touch) else { return };
        let key_name = counted
            .credential
            .and_then(|one| self.credential(&act, &mut added, one, &counted.objections, touch));
        if self.session(&act, &mut added, &counted, key_name, touch).is_none() {
            return;
        }
        let at = self.keep(hash, &act, added, counted.numbers.slot, touch);
        if let Some(at) = at {
            self.connect(at, mark, &call.flow_id, call.endpoint.as_ref());
        }
    }
}

impl<'a> Call<'a> {
    fn new(mark: Mark, call: &'a ModelCall, [provider, ..]: [&str; 3]) -> Self {
        let tokens = call.tokens.as_ref();
        let sum = |tokens: &v1::Tokens| tokens.input.unwrap_or(0).saturating_add(tokens.output.unwrap_or(0));
        let cost = call.cost.as_ref().filter(|cost| matches!(cost.currency.as_str(), "" | "USD"));
        let amount = Amount {
            calls: 1,
            tokens: tokens.map_or(0, sum),
            nanos: cost.and_then(|cost| nanos(&cost.amount)).unwrap_or(0),
        };
        let told = [&call.session, &call.session_id].into_iter().find(|id| !id.is_empty());
        let credential = call.credential.as_ref().filter(|one| !one.fingerprint.is_empty());
        let numbers = Numbers {
            mark,
            slot: period(mark.time, SLOT_NS),
            amount,
            input: tokens.and_then(|tokens| tokens.input),
            loops: !BATCH_OPERATIONS.contains(&call.operation.as_str()),
            read: false,
        };
        let cleartext = said::cleartext(call);
        Self {
            numbers,
            credential,
            objections: credential.map(|one| Objections::to(one, provider, cleartext)).unwrap_or_default(),
            session: told.map(String::as_str),
            failed: call.status.is_some_and(|status| status >= 400),
            orphaned: call.orphaned,
        }
    }

    /// Whether nothing about it interests a rule but its numbers.
    fn is_usual(&self) -> bool {
        !self.failed && !self.orphaned && self.objections == Objections::default()
    }
}
