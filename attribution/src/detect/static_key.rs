//! `static-key`: a long-lived key where the policy wants a short-lived one.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};
use crate::policy::Lifetime;

pub(super) const RULE: Rule = Rule {
    name: "static-key",
    severity: Severity::Medium,
    meaning: "A long-lived key is used where the policy wants short-lived credentials (`lifetime = \"short_lived\"`).",
    silent: "Entitlements that do not ask for it, unless `everywhere` is 1, and keys whose shape does not tell.",
    next_step: "use workload identity federation or another short-lived credential instead",
    params: &[
        Param { name: "everywhere", default: 0, meaning: "1: no long-lived key is wanted anywhere" },
        Param { name: "keep_days", default: 7, meaning: "the finding ends after so many days without use" },
    ],
    checks: &[Check::Credential(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    if &*known.meta.lifetime != "static" || !cx.is_recent(known.span.last, at.days("keep_days")) {
        return;
    }
    let wanted = match cx.policy.entitlement(fingerprint).and_then(|one| one.lifetime) {
        Some(lifetime) => lifetime == Lifetime::ShortLived,
        None => at.get("everywhere") == 1,
    };
    if !wanted {
        return;
    }
    let users: Vec<&Use> = known.uses.values().collect();
    let names: Vec<String> = users.iter().map(|one| who_name(&one.place, &one.sample)).collect();
    let mut draft = cx.about_key(at, fingerprint.to_owned(), (fingerprint, known), &users);
    draft.title = format!(
        "The long-lived {} is used by {} where short-lived credentials are wanted",
        cx.key_name(fingerprint, known),
        list(&names)
    );
    out.push(draft);
}
