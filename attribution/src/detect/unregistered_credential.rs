//! `unregistered-credential`: a credential that no entitlement names.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};

pub(super) const RULE: Rule = Rule {
    name: "unregistered-credential",
    severity: Severity::Medium,
    meaning: "A credential is used that no entitlement of the policy names.",
    silent: "Without any entitlement in the policy, and when it was not used for `keep_days`.",
    next_step: "add an entitlement with an owner for it, or revoke it; `keywitness policy suggest` writes a first one",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without use",
    }],
    checks: &[Check::Credential(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let registered = cx.policy.entitlements.is_empty() || cx.policy.entitlement(fingerprint).is_some();
    if registered || !cx.is_recent(known.span.last, at.days("keep_days")) {
        return;
    }
    let users: Vec<&Use> = known.uses.values().collect();
    let names: Vec<String> = users.iter().map(|one| who_name(&one.place, &one.sample)).collect();
    let mut draft = cx.about_key(at, fingerprint.to_owned(), (fingerprint, known), &users);
    draft.title = format!(
        "A {} that no entitlement names is used by {}",
        cx.key_name(fingerprint, known),
        list(&names)
    );
    out.push(draft);
}
