//! The view as one HTML page that needs nothing else: no network, no script.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use jiff::tz::TimeZone;

use super::{Timeline, What, picture};
use crate::sink::compact::text;

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<style>
:root{color-scheme:light dark;--line:#8886;--dim:#888;--key:#0a7a8a;--bad:#c0262d;--warn:#b36b00}
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:500}
td.t,td.e{white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--dim)}
small{color:var(--dim);display:block;overflow-wrap:anywhere}
td{overflow-wrap:anywhere}
.found td{background:#c0262d1a}.found .w{color:var(--bad);font-weight:600}.opened .w{color:var(--warn)}
.started .w,.ended .w{color:var(--key)}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:currentColor}svg path{fill:none;stroke:var(--key);stroke-opacity:.45}
svg rect{fill:none;stroke:var(--line)}
</style>
"#;

/// Writes `timeline` under `title`.
pub fn write(timeline: &Timeline, title: &str, zone: &TimeZone, out: &mut impl Write) -> io::Result<()> {
    let title = escape(title);
    writeln!(out, "{HEAD}<title>{title}</title></head><body>\n<h1>{title}</h1>")?;
    let span = timeline.events.first().zip(timeline.events.last());
    if let Some((first, last)) = span {
        writeln!(
            out,
            "<p>{} events, {} to {}</p>",
            timeline.events.len(),
            escape(&text::day(first.time, zone)),
            escape(&text::day(last.time, zone))
        )?;
    }
    if timeline.left_out > 0 {
        writeln!(out, "<p>{} events did not fit; give a shorter time.</p>", timeline.left_out)?;
    }
    if !timeline.uses.is_empty() {
        writeln!(out, "<h2>Who used which key</h2>\n{}", picture::svg(&timeline.uses))?;
    }
    writeln!(out, "<h2>What happened</h2>\n<table><tr><th>Time<th>What<th>Who<th>Detail<th>Record</tr>")?;
    for event in &timeline.events {
        let class = match event.what {
            What::Opened => "opened",
            What::Started => "started",
            What::Connected => "connected",
            What::Called => "called",
            What::Found => "found",
            What::Ended => "ended",
        };
        writeln!(
            out,
            "<tr class=\"{class}\"><td class=\"t\">{} {}<td class=\"w\">{}<td>{}<small>{}</small><td>{}<small>{}</small><td class=\"e\">{}</tr>",
            escape(text::day(event.time, zone).split(' ').next().unwrap_or_default()),
            escape(&text::clock(event.time, zone)),
            event.what.name(),
            escape(&event.who),
            escape(&event.workload),
            escape(&event.detail),
            escape(&event.lineage),
            escape(&event.evidence),
        )?;
    }
    writeln!(out, "</table>\n</body></html>")
}

/// Text for HTML and SVG, in elements and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a string does not fail.
                let _ = write!(out, "&#{};", u32::from(char));
            }
            char => out.push(char),
        }
    }
    out
}
