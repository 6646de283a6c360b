//! The report for people.

use std::io::{self, Write};

use super::{Report, State, Verdict};
use crate::{
    bpf::hooks::Point,
    identity::sources::SOURCES,
    term::{Style, Term, escape},
};

/// Longest text in a cell, in characters.
const MAX_CHARS: usize = 300;

/// Prints `report`.
pub(super) fn print(report: &Report, term: Term, out: &mut impl Write) -> io::Result<()> {
    let name_columns = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in &report.checks {
        let (style, mark) = if check.ok { (Style::Good, "ok") } else { (Style::Bad, "no") };
        let detail = escape(&check.detail, MAX_CHARS);
        writeln!(out, "{}  {:name_columns$}  {detail}", term.paint(style, mark), check.name)?;
    }
    if !report.checks.is_empty() {
        writeln!(out)?;
    }
    let columns = |get: fn(&super::HookReport) -> &str| {
        report.hooks.iter().map(|hook| get(hook).len()).max().unwrap_or(0)
    };
    let (program, family, point) =
        (columns(|hook| hook.program), columns(|hook| hook.family), columns(|hook| &hook.point));
    let title =
        format!("{:program$}  {:family$}  {:point$}  {:9}  WITHOUT IT", "HOOK", "FAMILY", "WHERE", "STATE");
    writeln!(out, "{}", term.paint(Style::Dim, &title))?;
    for hook in &report.hooks {
        let (style, state) = match hook.state {
            State::Ok => (Style::Good, "ok"),
            State::Missing => (Style::Bad, "missing"),
            State::NotTried => (Style::Dim, "not tried"),
        };
        let lost =
            if hook.required { format!("does not start: {}", hook.lost) } else { hook.lost.to_owned() };
        let without_style = if hook.state == State::Missing { Style::Warn } else { Style::Dim };
        writeln!(
            out,
            "{:program$}  {:family$}  {:point$}  {}  {}",
            hook.program,
            hook.family,
            hook.point,
            term.paint(style, &format!("{state:9}")),
            term.paint(without_style, &lost)
        )?;
        if let Some(reason) = &hook.reason {
            writeln!(
                out,
                "  {}",
                term.paint(Style::Warn, &format!("reason: {}", escape(reason, MAX_CHARS)))
            )?;
            writeln!(out, "  since Linux {}; fallback: {}", hook.since, hook.fallback)?;
        }
    }
    sources(report, term, out)?;
    writeln!(out)?;
    let good = report.hooks.iter().filter(|hook| hook.state == State::Ok).count();
    let count = format!("{good} of {} hooks", report.hooks.len());
    let (style, summary) = match report.state {
        Verdict::Ok => (Style::Good, format!("good: {count} work; `keywitness run` sees everything it can")),
        Verdict::Degraded => {
            (Style::Warn, format!("degraded: {count} work; `keywitness run` sees less, as listed above"))
        }
        Verdict::Unusable => {
            let why = report.error.as_deref().map(|error| escape(error, MAX_CHARS)).unwrap_or_default();
            (Style::Bad, format!("unusable: `keywitness run` cannot start: {why}"))
        }
    };
    writeln!(out, "{}", term.paint(style, &summary))
}

/// The sources of identity, which are all optional.
fn sources(report: &Report, term: Term, out: &mut impl Write) -> io::Result<()> {
    if report.sources.is_empty() {
        return Ok(());
    }
    let name = report.sources.iter().map(|source| source.name.len()).max().unwrap_or(0);
    writeln!(out, "\n{}", term.paint(Style::Dim, &format!("{:name$}  {:9}  ", "SOURCE", "STATE")))?;
    for source in &report.sources {
        let style = match source.state.as_str() {
            "connected" => Style::Good,
            "waiting" => Style::Warn,
            _ => Style::Dim,
        };
        let gives = SOURCES.iter().find(|row| row.source.name() == source.name).map_or("", |row| row.gives);
        let reason = escape(&source.reason, MAX_CHARS);
        writeln!(
            out,
            "{:name$}  {}  {reason}{}",
            source.name,
            term.paint(style, &format!("{:9}", source.state)),
            term.paint(Style::Dim, &format!(" ({gives})"))
        )?;
    }
    Ok(())
}

/// Where a hook goes, in words.
pub(super) fn point(point: Point) -> String {
    match point {
        Point::RawTracepoint(name) => format!("raw_tp {name}"),
        Point::CgroupSockAddr => "cgroup sock_addr".to_owned(),
        Point::Egress => "cgroup_skb egress".to_owned(),
        Point::Ingress => "cgroup_skb ingress".to_owned(),
        Point::Uprobe => "uprobe".to_owned(),
        Point::Uretprobe => "uretprobe".to_owned(),
        Point::Fanotify => "fanotify".to_owned(),
    }
}
