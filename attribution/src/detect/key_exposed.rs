//! `key-exposed`: a key in a URL, or in clear text on the network.

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Odd, Use};
use super::state::span::Span;

pub(super) const RULE: Rule = Rule {
    name: "key-exposed",
    severity: Severity::Low,
    meaning: "A key left the host without encryption (high), or stands in a URL, where servers and proxies log it (low).",
    silent: "Clear text that stays on the host.",
    next_step: "use TLS and a header instead; renew the key if others could read it",
    params: &[Param {
        name: "keep_days",
        default: 30,
        meaning: "the finding ends after so many days without such use",
    }],
    checks: &[Check::Credential(check)],
};

/// The uses of a kind, its severity, its name and how it is said.
type Kind = (fn(&Odd) -> &Span, Severity, &'static str, &'static str);

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    let kinds: [Kind; 2] = [
        (|odd| &odd.cleartext, Severity::High, "cleartext", "was sent over the network in clear text"),
        (|odd| &odd.in_url, Severity::Low, "url", "stands in URLs"),
    ];
    for (span, severity, kind, text) in kinds {
        let exposed = |one: &&Use| {
            let span = one.odd.as_ref().map(|odd| *span(odd)).unwrap_or_default();
            span.count > 0 && cx.is_recent(span.last, at.days("keep_days"))
        };
        let users: Vec<&Use> = known.uses.values().filter(exposed).collect();
        if users.is_empty() {
            continue;
        }
        let names: Vec<String> = users.iter().map(|one| who_name(&one.place, &one.sample)).collect();
        let mut draft = cx.about_key(at, format!("{fingerprint} {kind}"), (fingerprint, known), &users);
        draft.span = Span::default();
        users.iter().filter_map(|one| one.odd.as_ref()).for_each(|odd| draft.span.merge(span(odd)));
        draft.severity = severity;
        draft.title = format!("The {} {text}, by {}", cx.key_name(fingerprint, known), list(&names));
        out.push(draft);
    }
}
