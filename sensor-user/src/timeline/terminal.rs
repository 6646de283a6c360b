//! The view as lines.

use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::{Timeline, What};
use crate::{
    sink::compact::{line::Line, text},
    term::{Style, Term},
};

/// Columns of the name of an event.
const WHAT: usize = 17;
/// Columns of time and evidence.
const TIME: usize = 12;
const WHO: usize = 18;
/// Most pairs that are listed.
const MAX_LISTED: usize = 20;

/// Writes `timeline`.
pub fn print(timeline: &Timeline, term: &Term, zone: &TimeZone, out: &mut impl Write) -> io::Result<()> {
    let mut last_day = String::new();
    let mut last_lineage = "";
    for event in &timeline.events {
        let day = text::day(event.time, zone);
        let day = day.split(' ').next().unwrap_or_default();
        if day != last_day {
            last_day = day.to_owned();
            one(out, term, Style::Bold, &last_day)?;
        }
        let style = match event.what {
            What::Found => Style::Alarm,
            What::Opened => Style::Warn,
            What::Started | What::Ended => Style::Name,
            What::Called => Style::Plain,
            What::Connected => Style::Dim,
        };
        let mut line = Line::default();
        line.cell(Style::Dim, text::clock(event.time, zone), TIME)
            .cell(style, event.what.name(), WHAT)
            .cell(Style::Bold, event.who.clone(), WHO)
            .word(if event.what == What::Found { Style::Alarm } else { Style::Plain }, event.detail.clone())
            .word(Style::Dim, event.evidence.clone());
        writeln!(out, "{}", line.render(term))?;
        // The way down to a process is told once, when it changes.
        if event.lineage.contains('→') && event.lineage != last_lineage {
            last_lineage = &event.lineage;
            let mut line = Line::default();
            line.cell(Style::Plain, "", TIME)
                .cell(Style::Plain, "", WHAT)
                .word(Style::Dim, format!("{}  in {}", event.lineage, event.workload));
            writeln!(out, "{}", line.render(term))?;
        }
    }
    if !timeline.uses.is_empty() {
        writeln!(out)?;
        one(out, term, Style::Bold, "Who used which key")?;
    }
    for (pair, used) in timeline.uses.iter().take(MAX_LISTED) {
        let mut line = Line::default();
        line.word(Style::Name, pair.key.clone())
            .word(Style::Dim, "→")
            .word(Style::Plain, pair.workload.clone())
            .word(Style::Bold, format!("{} calls, {} tokens", used.calls, used.tokens));
        writeln!(out, "{}", line.render(term))?;
    }
    let more = timeline.uses.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        one(out, term, Style::Dim, &format!("and {more} more"))?;
    }
    if timeline.left_out > 0 {
        one(
            out,
            term,
            Style::Warn,
            &format!("{} events did not fit; give a shorter time", timeline.left_out),
        )?;
    }
    Ok(())
}

fn one(out: &mut impl Write, term: &Term, style: Style, text: &str) -> io::Result<()> {
    let mut line = Line::default();
    line.word(style, text);
    writeln!(out, "{}", line.render(term))
}
