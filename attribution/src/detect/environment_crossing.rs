//! `environment-crossing`: a production key in test or on a laptop.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};

pub(super) const RULE: Rule = Rule {
    name: "environment-crossing",
    severity: Severity::High,
    meaning: "A key whose entitlement belongs to production is used in another environment, or by a person's own \
              programs outside every environment.",
    silent: "Services whose environment the policy does not know, and keys of other environments.",
    next_step: "give the other environment a key of its own, and renew the production key",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without such use",
    }],
    checks: &[Check::Credential(check)],
};

/// Whether an environment is production, by its name.
pub(super) fn is_production(environment: &str) -> bool {
    environment.starts_with("prod") || environment == "live"
}

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let Some(entitlement) = cx.policy.entitlement(fingerprint) else { return };
    let Some(wanted) = entitlement.environment.as_deref().filter(|name| is_production(name)) else { return };
    let elsewhere = |one: &&Use| match cx.environment(&one.place) {
        Some(here) => here != wanted,
        None => one.place.starts_with("user://"),
    };
    let recent = |one: &&Use| cx.is_recent(one.span.last, at.days("keep_days"));
    let users: Vec<&Use> = known.uses.values().filter(recent).filter(elsewhere).collect();
    if users.is_empty() {
        return;
    }
    let name = |one: &&Use| {
        let here = cx.environment(&one.place).unwrap_or("no known environment");
        format!("{} ({here})", who_name(&one.place, &one.sample))
    };
    let names: Vec<String> = users.iter().map(name).collect();
    let mut draft =
        cx.about_key(at, format!("{} {fingerprint}", entitlement.label), (fingerprint, known), &users);
    draft.title = format!("The {wanted} key `{}` is used by {}", entitlement.label, list(&names));
    out.push(draft);
}
