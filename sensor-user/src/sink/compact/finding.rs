//! A finding as a block that stands out.

use jiff::tz::TimeZone;
use proto::v1::{Finding, Participant};

use super::{line::Line, text};
use crate::term::Style;

/// Participants that are listed; the record has them all.
const MAX_PARTICIPANTS: usize = 16;
const LABEL: usize = 8;

/// The lines of `finding`.
pub(super) fn block(finding: &Finding, zone: &TimeZone) -> Vec<Line> {
    let style = severity(&finding.severity);
    let mut head = Line::default();
    head.word(style, format!("!! {}", text::known(&finding.severity).to_uppercase()))
        .word(style, text::known(&finding.rule))
        .word(Style::Bold, text::sentence(&finding.title));
    if !matches!(finding.state.as_str(), "" | "open") {
        head.word(Style::Dim, format!("({})", text::field(&finding.state)));
    }
    let mut lines = vec![Line::default(), head];
    if let Some(credential) = &finding.credential {
        let mut words = vec![text::known(&credential.fingerprint)];
        words.extend(
            [&credential.hint, &credential.provider, &credential.kind]
                .into_iter()
                .map(|word| text::field(word)),
        );
        words.retain(|word| !word.is_empty());
        lines.push(labelled("key", Style::Name, words.join("  ")));
    }
    for (index, participant) in finding.participants.iter().take(MAX_PARTICIPANTS).enumerate() {
        let label = if index == 0 { "used by" } else { "" };
        lines.push(labelled(label, Style::Plain, one(participant, zone)));
    }
    if let Some(more) = finding.participants.len().checked_sub(MAX_PARTICIPANTS).filter(|more| *more > 0) {
        lines.push(labelled("", Style::Dim, format!("and {more} more")));
    }
    let times = format!("{} to {}", text::day(finding.first_seen, zone), text::day(finding.last_seen, zone));
    lines.push(labelled("seen", Style::Dim, times));
    if !finding.next_step.is_empty() {
        lines.push(labelled("next", Style::Bold, text::sentence(&finding.next_step)));
    }
    lines.push(Line::default());
    lines
}

fn labelled(label: &str, style: Style, text: String) -> Line {
    let mut line = Line::default();
    line.cell(Style::Dim, format!("   {label}"), LABEL + 3).word(style, text);
    line
}

fn one(participant: &Participant, zone: &TimeZone) -> String {
    let process = text::process(participant.process.as_ref(), usize::MAX);
    let workload = text::workload(participant.workload.as_ref(), participant.process.as_ref());
    let calls = if participant.count == 1 { "call" } else { "calls" };
    let last = text::clock(participant.last_seen, zone);
    format!("{process}  {workload}  {} {calls}, last {last}", participant.count)
}

fn severity(name: &str) -> Style {
    match name {
        "critical" | "high" => Style::Alarm,
        "medium" => Style::Warn,
        _ => Style::Name,
    }
}
