//! `orphaned-session`: calls after the end of their session.

use super::check::{At, Check, Cx, Draft, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::session::Session;

pub(super) const RULE: Rule = Rule {
    name: "orphaned-session",
    severity: Severity::Medium,
    meaning: "Something still calls models after the session that it belongs to has ended.",
    silent: "Answers that arrive after the end: a call counts from its start.",
    next_step: "find the process that was left behind and stop it; check what it holds a credential for",
    params: &[Param {
        name: "keep_days",
        default: 1,
        meaning: "the finding ends after so many days without such calls",
    }],
    checks: &[Check::Session(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, name: &str, known: &Session, out: &mut Vec<Draft>) {
    if known.orphans.count == 0 || !cx.is_recent(known.orphans.last, at.days("keep_days")) {
        return;
    }
    let who = who_name(&known.place, &known.sample);
    let calls = if known.orphans.count == 1 { "call" } else { "calls" };
    out.push(Draft {
        subject: name.to_owned(),
        severity: at.rule.severity,
        title: format!("{who} made {} {calls} after its session ended", known.orphans.count),
        credential: None,
        participants: vec![cx.named(&known.place, &known.sample, &known.orphan_evidence, &known.orphans)],
        span: known.orphans,
    });
}
