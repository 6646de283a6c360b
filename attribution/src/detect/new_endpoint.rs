//! `new-endpoint`: the first call of a principal to a provider, host or model after a time of learning.

use std::collections::BTreeMap;

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::principal::Principal;
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "new-endpoint",
    severity: Severity::Info,
    meaning: "A principal calls a provider (medium), a host (low) or a model (info) for the first time, after \
              `learning_days` of others only.",
    silent: "While a principal is new, and for principals with more than 64 destinations.",
    next_step: "check that the change is meant; if not, look at what was deployed at that time",
    params: &[
        Param {
            name: "learning_days",
            default: 7,
            meaning: "days after its first call in which everything is usual",
        },
        Param { name: "keep_days", default: 3, meaning: "days after which something new is usual" },
    ],
    checks: &[Check::Principal(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, place: &str, known: &Principal, out: &mut Vec<Draft>) {
    let first = known.dests.values().map(|(_, span)| span.first).min().unwrap_or(0);
    let usual = first.saturating_add(at.days("learning_days"));
    if known.span.last <= usual || known.dests.overflowed {
        return;
    }
    let mut names: [BTreeMap<&str, Span>; 3] = Default::default();
    for (dest, span) in known.dests.values() {
        for (names, name) in names.iter_mut().zip([&dest.provider, &dest.host, &dest.model]) {
            names.entry(name).or_default().merge(span);
        }
    }
    let is_new = |span: &Span| span.first > usual && cx.is_recent(span.first, at.days("keep_days"));
    let kinds = [("provider", Severity::Medium), ("host", Severity::Low), ("model", Severity::Info)];
    for (at_kind, ((kind, severity), of_kind)) in kinds.into_iter().zip(&names).enumerate() {
        for (name, span) in of_kind.iter().filter(|(name, span)| !name.is_empty() && is_new(span)) {
            if is_told(known, &names, at_kind, name, &is_new) {
                continue;
            }
            let mut participant = cx.itself(place, known);
            (participant.first_seen, participant.last_seen, participant.count) =
                (span.first, span.last, span.count);
            out.push(Draft {
                subject: format!("{place} {kind} {name}"),
                severity,
                title: format!(
                    "{} calls the {kind} {name} for the first time",
                    who_name(place, &known.sample)
                ),
                credential: None,
                participants: vec![participant],
                span: *span,
            });
        }
    }
}

/// Whether something of `name` that tells more is new as well: a new host of a new provider is one thing.
fn is_told(
    known: &Principal,
    names: &[BTreeMap<&str, Span>; 3],
    kind: usize,
    name: &str,
    is_new: &impl Fn(&Span) -> bool,
) -> bool {
    known.dests.values().any(|(dest, _)| {
        let parts = [&*dest.provider, &*dest.host, &*dest.model];
        parts.get(kind) == Some(&name)
            && parts.iter().zip(names).take(kind).any(|(part, spans)| spans.get(part).is_some_and(is_new))
    })
}
