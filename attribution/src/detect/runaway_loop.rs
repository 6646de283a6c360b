//! `runaway-loop`: a session that repeats itself.

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::buckets::period;
use super::state::session::{SLOT_NS, Session, Slot};
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "runaway-loop",
    severity: Severity::Medium,
    meaning: "Within ten minutes a session, or a process tree without one, makes many calls that nearly all fail, \
              nearly all have the same size, or come from very many processes.",
    silent: "Embeddings, rerankings and moderations, whose requests are alike by nature; work with varied sizes.",
    next_step: "look at what the agent does; stop its process if it goes on",
    params: &[
        Param { name: "failed_calls", default: 100, meaning: "failed calls in ten minutes" },
        Param { name: "failed_percent", default: 90, meaning: "part of all calls that these have to be" },
        Param {
            name: "same_calls",
            default: 200,
            meaning: "calls with the same model and input tokens in ten minutes",
        },
        Param { name: "same_percent", default: 95, meaning: "part of all calls that these have to be" },
        Param { name: "callers", default: 150, meaning: "calling processes in ten minutes" },
    ],
    checks: &[Check::Session(check)],
};
/// Slots that a finding stays: an hour.
const KEEP: u32 = 6;

fn check(cx: &Cx<'_>, at: At<'_>, name: &str, known: &Session, out: &mut Vec<Draft>) {
    let from = period(cx.now, SLOT_NS).saturating_sub(KEEP);
    let looping = known.slots.iter().filter(|slot| slot.index >= from);
    let found: Vec<(&Slot, String)> = looping.filter_map(|slot| Some((slot, why(at, slot)?))).collect();
    let Some((slot, why)) = found.iter().max_by_key(|(slot, _)| (slot.calls, slot.index)) else { return };
    let who = who_name(&known.place, &known.sample);
    let who = if known.told { format!("Session {name} of {who}") } else { who };
    out.push(Draft {
        subject: name.to_owned(),
        severity: at.rule.severity,
        title: format!("{who} runs in a loop: {} calls in ten minutes, {why}", slot.calls),
        credential: None,
        participants: vec![cx.named(&known.place, &known.sample, &known.evidence, &known.span)],
        span: Span { count: found.iter().map(|(slot, _)| u64::from(slot.calls)).sum(), ..known.span },
    });
}

fn why(at: At<'_>, slot: &Slot) -> Option<String> {
    let enough = |count: u32, least: &str, percent: &str| {
        u64::from(count) >= at.get(least) && u64::from(count) * 100 >= u64::from(slot.calls) * at.get(percent)
    };
    if enough(slot.failed, "failed_calls", "failed_percent") {
        return Some(format!("{} of them failed", slot.failed));
    }
    if enough(slot.same_size(), "same_calls", "same_percent") {
        return Some("nearly all of the same size".into());
    }
    let callers = slot.callers();
    (u64::from(callers) >= at.get("callers")).then(|| format!("by about {callers} processes"))
}
