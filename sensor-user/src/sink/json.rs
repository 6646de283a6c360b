//! One JSON object per line.

use std::io::{self, BufWriter, Write};

use proto::v1::Record;

use super::Sink;

/// Writes JSON lines; readers get whole lines only, at each flush.
#[derive(Debug)]
pub struct Json<W: Write> {
    out: BufWriter<W>,
    line: Vec<u8>,
}

impl<W: Write> Json<W> {
    /// A sink on `out`.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::new(out), line: Vec::new() }
    }
}

impl<W: Write> Sink for Json<W> {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn write_line(&mut self, _: &Record, line: &[u8]) -> io::Result<()> {
        self.out.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Flow, Status, record::Body};

    use super::*;

    #[test]
    fn each_record_is_one_line_that_reads_back() {
        let records = [
            Record::new(1, Body::Flow(Box::new(Flow { id: "a\nb".into(), ..Default::default() }))),
            Record::new(2, Body::Status(Status { produced: 3, ..Default::default() })),
        ];
        let mut out = Vec::new();
        let mut sink = Json::new(&mut out);
        records.iter().for_each(|record| sink.write(record).unwrap());
        sink.flush().unwrap();
        drop(sink);
        let text = String::from_utf8(out).unwrap();
        let read: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, records);
    }

    #[test]
    fn a_reader_that_went_away_is_reported_as_such() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut sink = Json::new(writer);
        sink.write(&Record::default()).unwrap();
        let error = sink.flush().unwrap_err();
        assert!(super::super::is_closed(&error), "{error}");
    }
}
