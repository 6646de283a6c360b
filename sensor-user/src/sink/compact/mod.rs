//! Records for people: a line per model call, findings as blocks, the rest only when it matters.

mod access;
mod call;
mod finding;
mod flow;
pub(crate) mod line;
mod session;
mod status;
pub(crate) mod text;

#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};

use jiff::tz::TimeZone;
use proto::v1::{Record, record::Body};

use super::Sink;
use crate::term::Term;
use line::Line;

/// What the marks of a line mean, for `--help`.
pub const LEGEND: &str = "\
Marks in compact output:
  1204→33      input and output tokens, as the response says
  ~1204→~33    taken from response headers
  ≥1204→≥33    the response was cut short: at least so many
  ?            not reported, or not known
  #ab12cd34    start of the key's fingerprint (the part after kw1-<key id>-)
  unbound      the connection that carried the call is not proven";

/// Writes readable lines.
#[derive(Debug)]
pub struct Compact<W: Write> {
    out: BufWriter<W>,
    term: Term,
    zone: TimeZone,
    health: status::Health,
    titled: bool,
}

impl<W: Write> Compact<W> {
    /// A sink on `out` with times of `zone`.
    pub fn new(out: W, term: Term, zone: TimeZone) -> Self {
        Self { out: BufWriter::new(out), term, zone, health: status::Health::default(), titled: false }
    }

    fn print(&mut self, lines: impl IntoIterator<Item = Line>) -> io::Result<()> {
        for line in lines {
            writeln!(self.out, "{}", line.render(&self.term))?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Compact<W> {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let columns = call::Columns::fitting(self.term.width);
        // Titles are for people; in a pipe every line is a record.
        if !self.titled && self.term.width.is_some() {
            self.titled = true;
            self.print([call::titles(&columns)])?;
        }
        match &record.body {
            Some(Body::ModelCall(call)) => self.print([call::line(record.time, call, &columns, &self.zone)]),
            Some(Body::Finding(finding)) => self.print(finding::block(finding, &self.zone)),
            Some(Body::Flow(flow)) => self.print(flow::line(record.time, flow, &columns, &self.zone)),
            Some(Body::Status(status)) => {
                let line = status::line(record.time, status, &mut self.health, &self.zone);
                self.print(line)
            }
            Some(Body::Session(session)) => {
                self.print(session::line(record.time, session, &columns, &self.zone))
            }
            Some(Body::CredentialAccess(access)) => {
                self.print(access::line(record.time, access, &columns, &self.zone))
            }
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.term.refresh();
        self.out.flush()
    }
}
