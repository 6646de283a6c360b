//! `expired-entitlement`: a credential used after its entitlement ended.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};
use crate::policy::date::day_text;

pub(super) const RULE: Rule = Rule {
    name: "expired-entitlement",
    severity: Severity::High,
    meaning: "A credential was used after its entitlement expired.",
    silent: "Uses before the end, however late they are told.",
    next_step: "revoke the key, or renew the entitlement",
    params: &[Param {
        name: "keep_days",
        default: 30,
        meaning: "the finding ends after so many days without use",
    }],
    checks: &[Check::Credential(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let Some(entitlement) = cx.policy.entitlement(fingerprint) else { return };
    let Some(end) = entitlement.expires.filter(|end| *end <= known.span.last) else { return };
    if !cx.is_recent(known.span.last, at.days("keep_days")) {
        return;
    }
    let users: Vec<&Use> = known.uses.values().filter(|one| one.span.last >= end).collect();
    let names: Vec<String> = users.iter().map(|one| who_name(&one.place, &one.sample)).collect();
    let mut draft =
        cx.about_key(at, format!("{} {fingerprint}", entitlement.label), (fingerprint, known), &users);
    draft.span.first = draft.span.first.max(end);
    draft.title = format!(
        "The entitlement of key `{}` ended on {} and it is still used by {}",
        entitlement.label,
        day_text(end),
        list(&names)
    );
    out.push(draft);
}
