//! `credential-read`: a credential file opened by a program that has no business with it.

use super::check::{At, Check, Cx, Draft, base, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::access::Access;

pub(super) const RULE: Rule = Rule {
    name: "credential-read",
    severity: Severity::Medium,
    meaning: "A file with credentials was opened by an executable that is not expected to.",
    silent: "Expected readers (the client itself, editors of its owner, backup programs that are listed), and readers \
             of which nothing is known.",
    next_step: "check what the program did; renew the credential if it was not meant to read it",
    params: &[Param {
        name: "keep_days",
        default: 7,
        meaning: "the finding ends after so many days without another open",
    }],
    checks: &[Check::Access(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, name: &str, known: &Access, out: &mut Vec<Draft>) {
    if !cx.is_recent(known.span.last, at.days("keep_days")) {
        return;
    }
    let whose = if known.client.is_empty() { String::new() } else { format!(" of {}", known.client) };
    out.push(Draft {
        subject: name.to_owned(),
        severity: at.rule.severity,
        title: format!(
            "{} ({}) opened {}, a credential file{whose}",
            base(&known.sample.exe),
            who_name(&known.place, &known.sample),
            known.path
        ),
        credential: None,
        participants: vec![cx.named(&known.place, &known.sample, &known.evidence, &known.span)],
        span: known.span,
    });
}
