//! Every record to all sinks of a run.

use std::io;

use proto::v1::Record;

use super::Sink;
use crate::live::Hub;

/// The output of a run, and who else wants its records.
pub struct FanOut {
    output: Box<dyn Sink + Send>,
    live: Option<Hub>,
}

impl FanOut {
    /// Writes to `output` and to those who follow `live`.
    pub fn new(output: Box<dyn Sink + Send>, live: Option<Hub>) -> Self {
        Self { output, live }
    }

    /// Lets the others take what waits for them, for a bounded time.
    pub async fn finish(self) {
        if let Some(live) = self.live {
            live.finish().await;
        }
    }
}

impl Sink for FanOut {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        if let Some(live) = &mut self.live {
            live.write(record)?;
        }
        self.output.write(record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
