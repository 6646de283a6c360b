//! `key-misdirected`: a key of one provider sent to another provider or an unknown host.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};
use super::state::names::Dest;
use crate::policy::any;

pub(super) const RULE: Rule = Rule {
    name: "key-misdirected",
    severity: Severity::High,
    meaning: "A key whose shape names one provider was sent to another provider, or to a host of no known provider.",
    silent: "Gateways that pass keys on (the built-in ones, and `[gateway] hosts` of the policy), other services of \
             the same provider, the own host, and keys whose shape does not tell.",
    next_step: "treat the key as leaked: renew it, and correct the base URL of the client",
    params: &[Param {
        name: "keep_days",
        default: 30,
        meaning: "the finding ends after so many days without such use",
    }],
    checks: &[Check::Credential(check)],
};
/// Providers of the catalogue that take keys of others and pass them on.
const GATEWAYS: [&str; 4] =
    ["cloudflare_ai_gateway", "litellm_proxy", "vercel_ai_gateway", "openai_compatible_hosts"];
/// Providers that are one company: the same keys work.
const SAME: [&[&str]; 3] = [
    &["gemini", "vertex"],
    &["bedrock", "anthropic_aws", "aws"],
    &["github_copilot", "github_models", "azure"],
];

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let mut hosts = Vec::new();
    let mut users: Vec<&Use> = Vec::new();
    for one in known.uses.values() {
        let Some(odd) = &one.odd else { continue };
        let recent = odd.wrong.values().filter(|(_, span)| cx.is_recent(span.last, at.days("keep_days")));
        let wrong: Vec<String> = recent
            .filter(|(dest, _)| is_wrong(cx, &known.meta.provider, dest))
            .map(|(dest, _)| dest.place())
            .collect();
        if !wrong.is_empty() {
            users.push(one);
            hosts.extend(wrong);
        }
    }
    if users.is_empty() {
        return;
    }
    hosts.sort();
    hosts.dedup();
    let names: Vec<String> = users.iter().map(|one| who_name(&one.place, &one.sample)).collect();
    let mut draft = cx.about_key(at, fingerprint.to_owned(), (fingerprint, known), &users);
    draft.title =
        format!("The {} was sent to {} by {}", cx.key_name(fingerprint, known), list(&hosts), list(&names));
    out.push(draft);
}

fn is_wrong(cx: &Cx<'_>, of: &str, dest: &Dest) -> bool {
    let (to, host) = (&*dest.provider, &*dest.host);
    let own = host.is_empty()
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let brand = |id: &str| id.split('_').next().unwrap_or_default().to_owned();
    let same = !to.is_empty()
        && (brand(of) == brand(to) || SAME.iter().any(|ids| ids.contains(&of) && ids.contains(&to)));
    !own && !same && !GATEWAYS.contains(&to) && !any(&cx.policy.gateway_hosts, host)
}
