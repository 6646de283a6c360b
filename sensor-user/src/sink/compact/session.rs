//! The line of a session: when a known agent starts, and when a session with calls ends.

use jiff::tz::TimeZone;
use proto::v1::Session;

use super::{call::Columns, line::Line, text};
use crate::term::{Style, cut};

/// Nanoseconds in a millisecond.
const NS_PER_MS: u64 = 1_000_000;

/// A line for known agents and for ends of sessions that called, else nothing.
pub(super) fn line(time: u64, session: &Session, columns: &Columns, zone: &TimeZone) -> Option<Line> {
    let started = session.state == "started";
    let called = session.calls > 0 || session.orphaned_calls > 0;
    // A tool that made one call says no more by its end than its call did.
    let told = match (session.agent.is_empty(), started) {
        (false, true) => true,
        (false, false) => called,
        (true, true) => false,
        (true, false) => session.calls > 1,
    };
    if !told {
        return None;
    }
    let workload = text::workload(session.workload.as_ref(), session.process.as_ref());
    let mut line = Line::default();
    line.cell(Style::Dim, text::clock(time, zone), 0)
        .cell(
            Style::Dim,
            text::process(session.process.as_ref(), columns.limit(columns.process)),
            columns.process,
        )
        .cell(Style::Dim, cut(&workload, columns.limit(columns.workload)), columns.workload)
        .word(Style::Dim, format!("session {}", text::known(&session.state)));
    if !session.agent.is_empty() {
        line.word(Style::Name, text::field(&session.agent));
    }
    if started {
        return Some(line);
    }
    if session.ended > session.started {
        line.word(Style::Dim, text::duration((session.ended - session.started) / NS_PER_MS));
    }
    let plural = if session.calls == 1 { "call" } else { "calls" };
    line.word(Style::Dim, format!("{} {plural}", session.calls));
    if let Some(tokens) = &session.tokens {
        let count = |count: Option<u64>| count.map_or(text::UNKNOWN.to_owned(), |count| count.to_string());
        line.word(Style::Dim, format!("{}→{}", count(tokens.input), count(tokens.output)));
    }
    match session.cost.as_ref().map(|cost| (cost.amount.as_str(), cost.basis.as_str())) {
        Some(("", basis)) => line.word(Style::Dim, text::field(basis)),
        Some((amount, _)) => line.word(Style::Bold, format!("${}", text::field(amount))),
        None => &mut line,
    };
    if session.orphaned_calls > 0 {
        line.word(Style::Warn, format!("{} after its end", session.orphaned_calls));
    }
    Some(line)
}
