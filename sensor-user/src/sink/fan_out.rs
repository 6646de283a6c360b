//! Every record to all sinks of a run.

use std::io;

use proto::v1::{Gap, Record, record::Body};

use super::Sink;
use crate::{export::sink::Exporter, live::Hub, metrics::Tally};

/// The output of a run, and who else wants its records.
pub struct FanOut {
    output: Box<dyn Sink + Send>,
    live: Option<Hub>,
    exporters: Vec<Exporter>,
    tally: Option<Tally>,
}

impl FanOut {
    /// Writes to `output`, to those who follow `live`, and to `exporters`; `tally` counts what passes.
    pub fn new(
        output: Box<dyn Sink + Send>,
        live: Option<Hub>,
        exporters: Vec<Exporter>,
        tally: Option<Tally>,
    ) -> Self {
        Self { output, live, exporters, tally }
    }

    /// Lets the others take what waits for them, for a bounded time.
    pub async fn finish(self) {
        if let Some(live) = self.live {
            live.finish().await;
        }
        for exporter in self.exporters {
            exporter.finish().await;
        }
    }

    /// A status record with what receivers did not get; nothing for other records and when they got all.
    fn with_drops(&self, record: &Record) -> Option<Record> {
        let status = record.status()?;
        let dropped: Vec<_> = self.exporters.iter().flat_map(Exporter::dropped).collect();
        if dropped.is_empty() {
            return None;
        }
        let mut status = status.clone();
        status.skipped.extend(dropped);
        Some(Record { body: Some(Body::Status(status)), ..record.clone() })
    }
}

impl Sink for FanOut {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let changed = self.with_drops(record);
        let record = changed.as_ref().unwrap_or(record);
        if let Some(tally) = &self.tally {
            tally.count(record);
        }
        self.output.write(record)?;
        for exporter in &mut self.exporters {
            exporter.write(record)?;
        }
        match &mut self.live {
            Some(live) => live.write(record),
            None => Ok(()),
        }
    }

    fn gaps(&mut self) -> Vec<Gap> {
        self.output.gaps()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
