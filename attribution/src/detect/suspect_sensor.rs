//! `suspect-sensor`: a collector saw that a sensor's records cannot be relied on.

use super::check::{At, Check, Cx, Draft};
use super::rules::{Param, Rule, Severity};

/// What a collector reports, how bad it is, and how it is said.
const KINDS: [(&str, Severity, &str); 5] = [
    ("silent", Severity::Medium, "sends nothing"),
    ("gap", Severity::High, "left out records"),
    ("forged_host", Severity::High, "sent records of another host"),
    ("two_machines", Severity::High, "is two machines with one certificate"),
    ("clock", Severity::Low, "has another time than the collector"),
];
/// The kind that ends by itself.
const SILENT: &str = "silent";

pub(super) const RULE: Rule = Rule {
    name: "suspect-sensor",
    severity: Severity::Low,
    meaning: "A collector saw that a sensor went silent (medium), left out records (high), sent records of another host \
              than that of its certificate (high; they are refused), shares its certificate with a second machine \
              (high), or has a clock that is off (low).",
    silent: "Records that the sensor itself told as missing: `sensor-degraded` has them. A host without a collector.",
    next_step: "look at the sensor's log on that host; give each host a certificate of its own with \
                `keywitness-collector issue HOST`",
    params: &[
        Param {
            name: "silent_s",
            default: 120,
            meaning: "a silent sensor is heard again when no report came for so long",
        },
        Param { name: "keep_days", default: 7, meaning: "anything else ends so long after the last report" },
    ],
    checks: &[Check::All(check)],
};

fn check(cx: &Cx<'_>, at: At<'_>, out: &mut Vec<Draft>) {
    for (host, kind, known) in cx.state.reports.iter() {
        let Some((_, severity, says)) = KINDS.iter().find(|(name, _, _)| *name == kind) else { continue };
        let keep = match kind {
            SILENT => at.get("silent_s").saturating_mul(1_000_000_000),
            _ => at.days("keep_days"),
        };
        if !cx.is_recent(known.span.last, keep) {
            continue;
        }
        out.push(Draft {
            subject: format!("{host} {kind}"),
            severity: *severity,
            title: format!("The sensor on {host} {says}: {}", known.latest.1),
            credential: None,
            participants: Vec::new(),
            span: known.span,
        });
    }
}
