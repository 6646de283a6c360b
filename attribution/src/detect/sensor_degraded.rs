//! `sensor-degraded`: a sensor that sees less than it should.

use super::check::{At, Check, Cx, Draft, list};
use super::rules::{Param, Rule, Severity};
use super::state::sensor::{Health, Sensor};
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "sensor-degraded",
    severity: Severity::Low,
    meaning: "A sensor lost events or records (high), lost a hook that it had (high), or its clock went back (low), in \
              its latest 64 status records.",
    silent: "Loss below `lost_permille` of all events, and hooks that the kernel never had.",
    next_step: "run `keywitness doctor` on the host; raise kernel.ring_bytes when events are lost",
    params: &[
        Param { name: "lost_events", default: 100, meaning: "lost events that do not matter" },
        Param { name: "lost_permille", default: 1, meaning: "part of all events that may be lost" },
        Param { name: "clock_s", default: 5, meaning: "seconds that a clock may go back" },
    ],
    checks: &[Check::Sensor(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, _: &str, known: &Sensor, out: &mut Vec<Draft>) {
    let Some(latest) = known.statuses.values().next_back() else { return };
    // Counters begin again with each start.
    let run: Vec<&Health> = known.statuses.values().filter(|health| health.since == latest.since).collect();
    let Some(first) = run.first() else { return };
    let mut wrong = Vec::new();
    let mut severity = Severity::Low;
    let count = |health: &Health| health.lost.iter().map(|(_, count)| count).sum::<u64>();
    // What the first status tells was lost since the start.
    let (lost, made) = match run.len() {
        1 => (count(latest), latest.produced),
        _ => (count(latest).saturating_sub(count(first)), latest.produced.saturating_sub(first.produced)),
    };
    if lost > at.get("lost_events") && lost * 1000 > made * at.get("lost_permille") {
        severity = Severity::High;
        let what: Vec<String> = latest.lost.iter().map(|(name, _)| name.clone()).collect();
        wrong.push(format!("lost {lost} of {made} events: {}", list(&what)));
    }
    if latest.gaps > 0 {
        severity = Severity::High;
        wrong.push(format!("{} records are missing from its log", latest.gaps));
    }
    let had = |name: &str| run.iter().any(|health| health.missing.iter().all(|(missing, _)| missing != name));
    for (name, lost) in latest.missing.iter().filter(|(name, _)| had(name)) {
        severity = Severity::High;
        wrong.push(format!("the hook {name} is gone ({lost})"));
    }
    let allowed = at.get("clock_s").saturating_mul(1_000_000_000);
    let back = run.windows(2).filter_map(|pair| match pair {
        [before, after] => before.time.checked_sub(after.time).filter(|back| *back > allowed),
        _ => None,
    });
    if let Some(back) = back.max() {
        wrong.push(format!("its clock went back by {} s", back / 1_000_000_000));
    }
    if wrong.is_empty() {
        return;
    }
    let subject = format!("{} {}", known.host, known.boot_id);
    let times = || run.iter().map(|health| health.time);
    out.push(Draft {
        subject,
        severity,
        title: format!("The sensor on {} sees less than it should: {}", known.host, wrong.join("; ")),
        credential: None,
        participants: Vec::new(),
        span: Span {
            first: times().min().unwrap_or(0),
            last: times().max().unwrap_or(0).min(cx.now),
            count: run.len() as u64,
        },
    });
}
