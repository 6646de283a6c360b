//! `dormant-entitlement`: an entitlement that nobody uses.

use super::check::{At, Check, Cx, Draft};
use super::rules::{Param, Rule, Severity};
use super::state::span::Span;
use crate::policy::date::day_text;

pub(super) const RULE: Rule = Rule {
    name: "dormant-entitlement",
    severity: Severity::Low,
    meaning: "No credential of an entitlement was used for `days` days.",
    silent: "Until records of so many days have been seen, and for entitlements that have ended.",
    next_step: "revoke the key and remove the entitlement, or ask its owner",
    params: &[Param { name: "days", default: 30, meaning: "days without use" }],
    checks: &[Check::All(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, out: &mut Vec<Draft>) {
    let wait = at.days("days");
    let Some(since) = cx.state.since.filter(|since| since.saturating_add(wait) <= cx.now) else { return };
    for one in cx.policy.entitlements.iter().filter(|one| one.expires.is_none_or(|end| end > cx.now)) {
        let uses = one.fingerprints.iter().filter_map(|name| cx.state.credentials.get(name));
        let last = uses.map(|known| known.span.last).max();
        if last.unwrap_or(since).saturating_add(wait) > cx.now {
            continue;
        }
        let owner = if one.owner.is_empty() { String::new() } else { format!(" of {}", one.owner) };
        let seen = match last {
            Some(last) => format!("was last used on {}", day_text(last)),
            None => format!("was never used since {}", day_text(since)),
        };
        out.push(Draft {
            subject: one.label.clone(),
            severity: at.rule.severity,
            title: format!("The key `{}`{owner} {seen}", one.label),
            credential: None,
            participants: Vec::new(),
            span: Span { first: last.unwrap_or(since), last: last.unwrap_or(since), count: 1 },
        });
    }
}
