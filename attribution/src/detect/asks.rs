//! What rules ask of counts alone, so that nothing is looked at each time a count goes on.

use super::check::At;
use super::rules::{RULES, Rule};
use super::state::principal::Principal;
use super::state::session::Slot;
use super::{runaway_loop, token_burn};
use crate::policy::{Period, Policy};

/// The least counts from which on a rule of the policy may find something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asks {
    /// Tokens of a principal in an hour.
    hour_tokens: u64,
    /// Failed calls, calls of one size, and callers, in a slot of a session.
    slot: [u64; 3],
    /// Whether principals have budgets: any count may be one too many.
    pub(super) principals: bool,
    /// Whether sessions have.
    pub(super) sessions: bool,
}

impl Asks {
    /// Those of `policy`.
    pub(super) fn new(policy: &Policy) -> Self {
        let least = |rule: &Rule, name: &str| at(policy, rule).map_or(u64::MAX, |at| at.get(name));
        let limits = policy.budgets.iter().map(|one| &one.limit);
        let of_keys = policy.entitlements.iter().flat_map(|one| &one.budget);
        let session = |per: Period| per == Period::Session;
        Self {
            hour_tokens: least(&token_burn::RULE, "min_tokens"),
            slot: ["failed_calls", "same_calls", "callers"].map(|name| least(&runaway_loop::RULE, name)),
            principals: limits.clone().any(|limit| !session(limit.per)),
            sessions: limits.chain(of_keys).any(|limit| session(limit.per)),
        }
    }

    /// Whether a rule may find something about a principal by what it used since the hour `since`.
    pub(super) fn principal(&self, known: &Principal, since: u32) -> bool {
        self.principals || known.hours.since(since).tokens > self.hour_tokens
    }

    /// Whether a rule may find something about a session by a slot; `caller` is whether one called for the first time.
    pub(super) fn slot(&self, slot: &Slot, caller: bool) -> bool {
        let [failed, same, callers] = self.slot;
        u64::from(slot.failed) >= failed
            || u64::from(slot.same_size()) >= same
            || (caller && u64::from(slot.callers()) >= callers)
    }
}

/// A rule and its settings, if the policy runs it.
fn at<'a>(policy: &'a Policy, rule: &Rule) -> Option<At<'a>> {
    let (index, rule) = RULES.iter().enumerate().find(|(_, known)| known.name == rule.name)?;
    let settings = policy.settings.of(index).filter(|settings| settings.enabled)?;
    Some(At { rule, settings })
}
