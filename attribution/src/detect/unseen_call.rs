//! `unseen-call`: traffic to a model endpoint whose content could not be read.

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::buckets::{DAY_NS, period};
use super::state::principal::{Principal, Unseen};

pub(super) const RULE: Rule = Rule {
    name: "unseen-call",
    severity: Severity::Low,
    meaning: "A principal has connections to a model endpoint whose content could not be read, so its credential and \
              tokens are not known: a hole in the coverage.",
    silent: "Few such connections, a small part of all, and connections that are older than the sensor.",
    next_step: "see `keywitness coverage` for the reason; an unknown TLS library can be told to us",
    params: &[
        Param { name: "min_flows", default: 5, meaning: "connections in two days" },
        Param {
            name: "min_percent",
            default: 20,
            meaning: "part of all its connections that these have to be",
        },
    ],
    checks: &[Check::Principal(check)],
};
/// Why a connection is not read when it was open before the sensor started.
const OLDER: &str = "the connection is older than the sensor";

fn check(cx: &Cx<'_>, at: At<'_>, place: &str, known: &Principal, out: &mut Vec<Draft>) {
    let today = period(cx.now, DAY_NS);
    let from = today.saturating_sub(1);
    let read = known.read.since(from).calls;
    let counted = |one: &&Unseen| &*one.reason != OLDER;
    let all: u64 = known.unseen.values().filter(counted).map(|one| one.days.since(from).calls).sum();
    if all < at.get("min_flows").max(1) || all * 100 < (all + read) * at.get("min_percent") {
        return;
    }
    for one in known.unseen.values().filter(counted) {
        let flows = one.days.since(from).calls;
        if flows == 0 {
            continue;
        }
        let before = one.days.iter().filter(|(day, _)| *day < from).map(|(_, used)| used.calls);
        let (days, before) = before.fold((0, 0), |(days, sum), calls| (days + 1, sum + calls));
        let trend = match (flows, days * flows, before * 2) {
            (_, _, 0) => String::new(),
            (_, now, then) if now > then * 2 => "; rising".to_owned(),
            (_, now, then) if now * 2 < then => "; falling".to_owned(),
            _ => "; steady".to_owned(),
        };
        out.push(Draft {
            subject: format!("{place} {} {}", one.dest.place(), one.reason),
            severity: at.rule.severity,
            title: format!(
                "{flows} connections of {} to {} in two days could not be read ({}){trend}",
                who_name(place, &known.sample),
                one.dest.place(),
                one.reason
            ),
            credential: None,
            participants: vec![cx.named(place, &known.sample, &known.evidence, &one.span)],
            span: one.span,
        });
    }
}
