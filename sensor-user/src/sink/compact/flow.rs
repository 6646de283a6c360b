//! The line of a flow whose plaintext was not read: what the other lines cannot tell.

use jiff::tz::TimeZone;
use proto::v1::Flow;

use super::{call::Columns, line::Line, text};
use crate::term::{Style, cut};

/// A line when plaintext is missing, else nothing.
pub(super) fn line(time: u64, flow: &Flow, columns: &Columns, zone: &TimeZone) -> Option<Line> {
    let tls = flow.tls.as_ref().filter(|tls| !matches!(tls.coverage.as_str(), "" | "plaintext"))?;
    let what = if tls.coverage == "none" { "no plaintext" } else { "not all plaintext" };
    let why = match tls.coverage_reason.as_str() {
        "" => "reason not known",
        why => why,
    };
    let workload = text::workload(flow.workload.as_ref(), flow.process.as_ref());
    let endpoint = flow.endpoint.as_ref().map(|endpoint| {
        let host = if endpoint.host.is_empty() { &endpoint.address } else { &endpoint.host };
        format!("{} {}:{}", text::known(&endpoint.provider), text::known(host), endpoint.port)
    });
    let mut line = Line::default();
    line.cell(Style::Dim, text::clock(time, zone), 0)
        .cell(
            Style::Dim,
            text::process(flow.process.as_ref(), columns.limit(columns.process)),
            columns.process,
        )
        .cell(Style::Dim, cut(&workload, columns.limit(columns.workload)), columns.workload)
        .word(Style::Dim, endpoint.unwrap_or(text::UNKNOWN.to_owned()))
        .word(Style::Dim, format!(" {what}: {}", text::field(why)));
    Some(line)
}
