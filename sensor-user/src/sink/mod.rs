//! Where records go: the flow log, and standard output as readable lines or as JSON.

pub mod compact;
pub mod falco;
pub mod fan_out;
pub mod json;
pub mod log;
pub mod table;

use std::io::{self, Write};

use proto::v1::{Gap, Record};

use crate::{config::Format, term::Term};

/// Takes records in order.
pub trait Sink {
    /// Takes one record; it may stay in a buffer.
    fn write(&mut self, record: &Record) -> io::Result<()>;

    /// As [`Sink::write`], by one who has the record's line already, line end included.
    fn write_line(&mut self, record: &Record, _line: &[u8]) -> io::Result<()> {
        self.write(record)
    }

    /// Writes out what is in the buffer. Call it after each batch and at the end.
    fn flush(&mut self) -> io::Result<()>;

    /// Numbers of records that it could not keep, and that were not told before; `to_seq` is 0 while more are lost.
    fn gaps(&mut self) -> Vec<Gap> {
        Vec::new()
    }
}

/// The sink for `format` on `out`.
pub fn open(format: Format, term: Term, out: impl Write + Send + 'static) -> Box<dyn Sink + Send> {
    match format {
        Format::Compact => Box::new(compact::Compact::new(out, term, jiff::tz::TimeZone::system())),
        Format::Json => Box::new(json::Json::new(out)),
        Format::None => Box::new(Nowhere),
    }
}

/// Prints nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &Record) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the reader of the output has gone away (`keywitness run | head`): the end of the run, no fault.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
