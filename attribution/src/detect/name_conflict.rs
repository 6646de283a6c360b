//! `name-conflict`: the network name and the `Host` of one connection belong to different providers.

use std::collections::BTreeMap;

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::access::Names;
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "name-conflict",
    severity: Severity::Medium,
    meaning: "A connection went by one name on the network (SNI or DNS) and by the name of another provider in the \
              request: domain fronting, or a proxy in between.",
    silent: "Different names of one provider, and declared gateway hosts.",
    next_step: "find out which of the two is meant; declare the host under `[gateway]` if it is a proxy",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without such connections",
    }],
    checks: &[Check::All(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, out: &mut Vec<Draft>) {
    let mut found: BTreeMap<(&str, &str, &str), Vec<&Names>> = BTreeMap::new();
    for (_, known) in cx.state.connections.iter() {
        let (Some((_, provider, network)), Some((_, other, request))) = (&known.network, &known.request)
        else {
            continue;
        };
        let gateway = crate::policy::any(&cx.policy.gateway_hosts, network);
        if network != request
            && provider != other
            && !gateway
            && cx.is_recent(known.span.last, at.days("keep_days"))
        {
            found.entry((&known.place, network, request)).or_default().push(known);
        }
    }
    for ((place, network, request), mut connections) in found {
        connections.sort_by_key(|known| known.evidence.marks().first().copied());
        let Some(first) = connections.first() else { continue };
        let mut span = Span::default();
        connections.iter().for_each(|known| span.merge(&known.span));
        out.push(Draft {
            subject: format!("{place} {network} {request}"),
            severity: at.rule.severity,
            title: format!(
                "{} connected to {network} and asked for {request} there",
                who_name(place, &first.sample)
            ),
            credential: None,
            participants: vec![cx.named(place, &first.sample, &first.evidence, &span)],
            span,
        });
    }
}
