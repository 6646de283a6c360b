//! `personal-credential`: a service that works with a person's key.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};

pub(super) const RULE: Rule = Rule {
    name: "personal-credential",
    severity: Severity::Medium,
    meaning: "A service uses a credential that came from a file in a person's home.",
    silent: "A person's own programs, and files outside of /home and /Users.",
    next_step: "give the service a credential of its own: it stops working when the person leaves",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without use",
    }],
    checks: &[Check::Credential(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let service =
        |one: &&Use| ["systemd://", "docker://", "k8s://"].iter().any(|kind| one.place.starts_with(kind));
    let home = |one: &Use| one.odd.as_ref().and_then(|odd| odd.home.clone());
    let recent = |one: &&Use| cx.is_recent(one.span.last, at.days("keep_days"));
    let users: Vec<&Use> =
        known.uses.values().filter(recent).filter(service).filter(|one| home(one).is_some()).collect();
    let Some(path) = users.iter().filter_map(|one| home(one)).min() else { return };
    let names: Vec<String> = users.iter().map(|one| who_name(&one.place, &one.sample)).collect();
    let mut draft = cx.about_key(at, fingerprint.to_owned(), (fingerprint, known), &users);
    draft.title = format!("The {} in {path} is used by {}", cx.key_name(fingerprint, known), list(&names));
    out.push(draft);
}
