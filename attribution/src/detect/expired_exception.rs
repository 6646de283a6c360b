//! `expired-exception`: a temporary exception of the policy that is past its end.

use super::check::{At, Check, Cx, Draft};
use super::rules::{Rule, Severity};
use super::state::span::Span;
use crate::policy::date::day_text;

pub(super) const RULE: Rule = Rule {
    name: "expired-exception",
    severity: Severity::Low,
    meaning: "A temporary exception in the policy is past its end; it no longer has an effect.",
    silent: "Until the end of the exception.",
    next_step: "remove the exception from the policy, or give it a new end and a reason",
    params: &[],
    checks: &[Check::All(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, out: &mut Vec<Draft>) {
    for one in cx.policy.exceptions.iter().filter(|one| one.until <= cx.now) {
        let about = one.of.subject.as_ref().map_or("everything", |glob| glob.as_str());
        out.push(Draft {
            subject: format!("{} {about} {}", one.of.rule, one.until),
            severity: at.rule.severity,
            title: format!(
                "The exception from {} for {about} ended on {} and is still in the policy ({})",
                one.of.rule,
                day_text(one.until),
                one.of.reason
            ),
            credential: None,
            participants: Vec::new(),
            span: Span { first: one.until, last: one.until, count: 1 },
        });
    }
}
