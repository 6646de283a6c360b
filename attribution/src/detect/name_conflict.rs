//! `name-conflict`: network name, `Host` and address of one connection belong to different providers.

use std::collections::BTreeMap;

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::connection::{Connection, Named};
use super::state::names::Dest;
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "name-conflict",
    severity: Severity::Medium,
    meaning: "A connection went by one name on the network (SNI or DNS) and by the name of another provider in the \
              request, or to an address that DNS gave for another name only: domain fronting, a changed hosts file, \
              or a proxy in between.",
    silent: "Different names of one provider or one domain, declared gateway hosts, addresses that several names share \
             (as those of a CDN), and names whose DNS answers were not seen.",
    next_step: "find out which of the two is meant; declare the host under `[gateway]` if it is a proxy",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without such connections",
    }],
    checks: &[Check::All(check)],
};

/// What the second name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Other {
    Request,
    Address,
}

fn check(cx: &Cx<'_>, at: At<'_>, out: &mut Vec<Draft>) {
    let mut found: BTreeMap<(&str, &str, Other, &str), Vec<&Connection>> = BTreeMap::new();
    let keep = at.days("keep_days");
    for known in cx.state.connections.iter() {
        let own = known.network.as_ref();
        // Without a name on the network the request has the only one that an address can disagree with.
        let pairs = [
            (own, &known.request, Other::Request),
            (own.or(known.request.as_ref()), &known.address, Other::Address),
        ];
        for (own, other, kind) in pairs {
            if let (Some(own), Some(other)) = (own, other)
                && cx.is_recent(known.span.last, keep)
                && is_conflict(cx, own, other)
            {
                found
                    .entry((&known.holder.place, &own.dest.host, kind, &other.dest.host))
                    .or_default()
                    .push(known);
            }
        }
    }
    for ((place, own, kind, other), mut connections) in found {
        connections.sort_by_key(|known| known.evidence.marks().first().copied());
        let Some(first) = connections.first() else { continue };
        let mut span = Span::default();
        connections.iter().for_each(|known| span.merge(&known.span));
        let sample = &first.holder.sample;
        let who = who_name(place, sample);
        let (subject, title) = match kind {
            Other::Request => (
                format!("{place} {own} {other}"),
                format!("{who} connected to {own} and asked for {other} there"),
            ),
            Other::Address => (
                format!("{place} {own} address {other}"),
                format!("{who} connected to {own} at an address that DNS gave it for {other} only"),
            ),
        };
        out.push(Draft {
            subject,
            severity: at.rule.severity,
            title,
            credential: None,
            participants: vec![cx.named(place, sample, &first.evidence, &span)],
            span,
        });
    }
}

/// Whether two names of one connection belong to different parties, and neither is a declared gateway.
fn is_conflict(cx: &Cx<'_>, own: &Named, other: &Named) -> bool {
    let (own, other) = (&own.dest, &other.dest);
    let gateway = |name: &Dest| crate::policy::any(&cx.policy.gateway_hosts, &name.host);
    let one_provider = !own.provider.is_empty() && own.provider == other.provider;
    !one_provider && site(&own.host) != site(&other.host) && !gateway(own) && !gateway(other)
}

/// The last two labels of a name. Where these are a public suffix, two parties look like one: it stays silent.
fn site(host: &str) -> &str {
    let start = host.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
    host.get(start..).unwrap_or(host)
}
