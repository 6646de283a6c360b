//! `token-burn`: far more tokens in an hour than this principal ever uses.

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::buckets::{HOUR_NS, period};
use super::state::principal::Principal;
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "token-burn",
    severity: Severity::Medium,
    meaning: "A principal uses many times more tokens in an hour than in its own usual hours (their median and the \
              median deviation from it, over up to 72 hours with use).",
    silent: "Below `min_tokens`, and until `min_hours` hours with use are known.",
    next_step: "look at its sessions and prompts sizes; a loop, a leaked key or a changed job are the usual causes",
    params: &[
        Param { name: "factor", default: 10, meaning: "times the median hour" },
        Param { name: "min_tokens", default: 100_000, meaning: "tokens in an hour that are never too many" },
        Param { name: "min_hours", default: 24, meaning: "hours with use that a baseline needs" },
        Param { name: "keep_hours", default: 6, meaning: "hours that a finding stays" },
    ],
    checks: &[Check::Principal(check)],
};
/// Median deviations that are still usual: about 6.7 standard deviations of a normal distribution.
const DEVIATIONS: f64 = 10.0;

fn check(cx: &Cx<'_>, at: At<'_>, place: &str, known: &Principal, out: &mut Vec<Draft>) {
    let from =
        period(cx.now, HOUR_NS).saturating_sub(u32::try_from(at.get("keep_hours")).unwrap_or(u32::MAX));
    let least = at.get("min_tokens");
    // Most principals never come near.
    if !known.hours.iter().any(|(hour, used)| hour >= from && used.tokens > least) {
        return;
    }
    let mut usual: Vec<f64> =
        known.hours.iter().filter(|(hour, _)| *hour < from).map(|(_, used)| used.tokens as f64).collect();
    if (usual.len() as u64) < at.get("min_hours").max(1) {
        return;
    }
    let middle = median(&mut usual);
    let mut deviations: Vec<f64> = usual.iter().map(|tokens| (tokens - middle).abs()).collect();
    let deviation = median(&mut deviations);
    let most = (middle * at.get("factor") as f64).max(middle + DEVIATIONS * deviation).max(least as f64);
    let burnt = known.hours.iter().filter(|(hour, used)| *hour >= from && used.tokens as f64 > most);
    let hours: Vec<_> = burnt.collect();
    let Some((_, worst)) = hours.iter().max_by_key(|(_, used)| used.tokens) else { return };
    let first = hours.iter().map(|(hour, _)| u64::from(*hour) * HOUR_NS).min().unwrap_or(0);
    let last = hours.iter().map(|(hour, _)| (u64::from(*hour) + 1) * HOUR_NS).max().unwrap_or(0);
    out.push(Draft {
        subject: place.to_owned(),
        severity: at.rule.severity,
        title: format!(
            "{} used {} tokens in an hour; {middle:.0} are usual",
            who_name(place, &known.sample),
            worst.tokens
        ),
        credential: None,
        participants: vec![cx.itself(place, known)],
        span: Span {
            first: first.max(known.span.first),
            last: last.min(known.span.last),
            count: hours.iter().map(|(_, used)| used.calls).sum(),
        },
    });
}

/// The middle value; the lower one of two.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len().saturating_sub(1) / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
