//! `out-of-scope-use`: a credential used by whom, or for what, its entitlement does not allow.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::environment_crossing::is_production;
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};
use crate::policy::{Entitlement, any};

pub(super) const RULE: Rule = Rule {
    name: "out-of-scope-use",
    severity: Severity::Medium,
    meaning: "A credential is used by a workload, for a provider or model, or in an environment that its entitlement \
              does not list.",
    silent: "Lists that are left out allow everything; production keys elsewhere are `environment-crossing`.",
    next_step: "move the workload to a credential of its own, or widen the entitlement if this is meant",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without such use",
    }],
    checks: &[Check::Credential(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let Some(entitlement) = cx.policy.entitlement(fingerprint) else { return };
    for one in known.uses.values() {
        let wrong = wrong(cx, at, entitlement, one);
        if wrong.is_empty() {
            continue;
        }
        let subject = format!("{} {fingerprint} {} {}", entitlement.label, one.place, one.program);
        let mut draft = cx.about_key(at, subject, (fingerprint, known), &[one]);
        let who = who_name(&one.place, &one.sample);
        draft.title =
            format!("The key `{}` is used by {who} out of scope: {}", entitlement.label, list(&wrong));
        out.push(draft);
    }
}

fn wrong(cx: &Cx<'_>, at: At<'_>, entitlement: &Entitlement, one: &Use) -> Vec<String> {
    let keep = at.days("keep_days");
    let mut wrong = Vec::new();
    if !cx.is_recent(one.span.last, keep) {
        return wrong;
    }
    if !entitlement.workloads.is_empty() && !any(&entitlement.workloads, &one.place) {
        wrong.push("the workload is not listed".to_owned());
    }
    let environment = cx.environment(&one.place);
    if let (Some(here), Some(wanted)) = (environment, &entitlement.environment)
        && here != wanted
        && !is_production(wanted)
    {
        wrong.push(format!("environment {here} instead of {wanted}"));
    }
    for (dest, span) in one.dests.values().filter(|(_, span)| cx.is_recent(span.last, keep)) {
        let outside = |globs: &[_], text: &str| !globs.is_empty() && !text.is_empty() && !any(globs, text);
        let found = [
            outside(&entitlement.providers, &dest.provider).then(|| format!("provider {}", dest.provider)),
            outside(&entitlement.models, &dest.model).then(|| format!("model {}", dest.model)),
        ];
        for text in found.into_iter().flatten().filter(|_| span.count > 0) {
            if !wrong.contains(&text) {
                wrong.push(text);
            }
        }
    }
    wrong.sort();
    wrong
}
