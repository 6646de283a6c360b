//! Parquet: a row for each record, what is asked for often in columns of its own, the whole record as JSON in
//! `record`. Readable by DuckDB, ClickHouse, Spark and pandas. Column names are part of the interface.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use proto::v1::{Endpoint, ModelCall, Process, Record, Tokens, Workload};

/// Records of a row group; so many are in memory.
const GROUP: usize = 16_384;

/// How a column gets its value; unknown is null.
enum Column {
    /// Nanoseconds since the epoch, UTC.
    Time(fn(&Record) -> u64),
    Text(fn(&Record) -> String),
    Number(fn(&Record) -> Option<u64>),
    Flag(fn(&Record) -> Option<bool>),
}

use Column::{Flag, Number, Text, Time};

const COLUMNS: &[(&str, Column)] = &[
    ("time", Time(|record| record.time)),
    ("kind", Text(|record| record.kind.clone())),
    ("host", Text(|record| record.sensor.as_ref().map(|sensor| sensor.host.clone()).unwrap_or_default())),
    (
        "boot_id",
        Text(|record| record.sensor.as_ref().map(|sensor| sensor.boot_id.clone()).unwrap_or_default()),
    ),
    ("seq", Number(|record| record.sensor.as_ref().map(|sensor| sensor.seq))),
    ("workload_id", Text(|record| workload(record, |one| &one.id))),
    ("workload_kind", Text(|record| workload(record, |one| &one.kind))),
    ("namespace", Text(|record| workload(record, |one| &one.namespace))),
    ("pod", Text(|record| workload(record, |one| &one.pod))),
    ("container", Text(|record| workload(record, |one| &one.container))),
    ("unit", Text(|record| workload(record, |one| &one.unit))),
    ("pid", Number(|record| record.process().map(|one| one.pid.into()))),
    ("process_start", Time(|record| record.process().map(|one| one.start_time).unwrap_or(0))),
    ("exe", Text(|record| process(record, |one| &one.exe))),
    ("uid", Number(|record| record.process()?.uid.map(u64::from))),
    ("cgroup", Text(|record| process(record, |one| &one.cgroup))),
    ("credential", Text(|record| record.credential().map(|one| one.fingerprint.clone()).unwrap_or_default())),
    ("credential_kind", Text(|record| record.credential().map(|one| one.kind.clone()).unwrap_or_default())),
    ("provider", Text(|record| endpoint(record, |one| &one.provider))),
    ("endpoint_host", Text(|record| endpoint(record, |one| &one.host))),
    ("endpoint_address", Text(|record| endpoint(record, |one| &one.address))),
    ("operation", Text(|record| call(record, |one| &one.operation))),
    ("model_requested", Text(|record| call(record, |one| &one.model_requested))),
    ("model_served", Text(|record| call(record, |one| &one.model_served))),
    ("status", Number(|record| record.model_call()?.status.map(u64::from))),
    ("stream", Flag(|record| record.model_call()?.stream)),
    ("binding", Text(|record| call(record, |one| &one.binding))),
    ("input_tokens", Number(|record| tokens(record, |one| one.input))),
    ("output_tokens", Number(|record| tokens(record, |one| one.output))),
    ("cache_read_tokens", Number(|record| tokens(record, |one| one.cache_read))),
    ("cache_write_tokens", Number(|record| tokens(record, |one| one.cache_write))),
    ("reasoning_tokens", Number(|record| tokens(record, |one| one.reasoning))),
    ("token_quality", Text(|record| record.tokens().map(|one| one.quality.clone()).unwrap_or_default())),
    ("cost", Text(|record| record.cost().map(|one| one.amount.clone()).unwrap_or_default())),
    ("currency", Text(|record| record.cost().map(|one| one.currency.clone()).unwrap_or_default())),
    ("duration_ms", Number(|record| record.model_call()?.duration_ms)),
    ("ttfb_ms", Number(|record| record.model_call()?.ttfb_ms)),
    (
        "session",
        Text(|record| match record.session() {
            Some(session) => session.id.clone(),
            None => call(record, |one| &one.session),
        }),
    ),
    ("rule", Text(|record| record.finding().map(|one| one.rule.clone()).unwrap_or_default())),
    ("severity", Text(|record| record.finding().map(|one| one.severity.clone()).unwrap_or_default())),
    ("record", Text(|record| serde_json::to_string(record).unwrap_or_default())),
];

fn workload(record: &Record, part: fn(&Workload) -> &String) -> String {
    record.workload().map(part).cloned().unwrap_or_default()
}

fn process(record: &Record, part: fn(&Process) -> &String) -> String {
    record.process().map(part).cloned().unwrap_or_default()
}

fn endpoint(record: &Record, part: fn(&Endpoint) -> &String) -> String {
    record.endpoint().map(part).cloned().unwrap_or_default()
}

fn call(record: &Record, part: fn(&ModelCall) -> &String) -> String {
    record.model_call().map(part).cloned().unwrap_or_default()
}

fn tokens(record: &Record, part: fn(&Tokens) -> Option<u64>) -> Option<u64> {
    record.tokens().and_then(part)
}

/// Writes one file.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    waiting: Vec<Record>,
}

impl<W: Write + Send> Writer<W> {
    /// A file on `out`.
    pub fn new(out: W) -> Result<Self, ParquetError> {
        let fields: Vec<String> = COLUMNS
            .iter()
            .map(|(name, column)| match column {
                Time(_) => format!("OPTIONAL INT64 {name} (TIMESTAMP(NANOS,true));"),
                Text(_) => format!("OPTIONAL BYTE_ARRAY {name} (UTF8);"),
                Number(_) => format!("OPTIONAL INT64 {name};"),
                Flag(_) => format!("OPTIONAL BOOLEAN {name};"),
            })
            .collect();
        let schema = parse_message_type(&format!("message record {{ {} }}", fields.join(" ")))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(format!("keywitness {}", super::VERSION))
            .build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { file, waiting: Vec::new() })
    }

    /// Takes a record.
    pub fn add(&mut self, record: Record) -> Result<(), ParquetError> {
        self.waiting.push(record);
        if self.waiting.len() >= GROUP { self.group() } else { Ok(()) }
    }

    /// Writes what is left and the end of the file.
    pub fn finish(mut self) -> Result<(), ParquetError> {
        if !self.waiting.is_empty() {
            self.group()?;
        }
        self.file.close().map(drop)
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        let records = std::mem::take(&mut self.waiting);
        let mut group = self.file.next_row_group()?;
        for (_, column) in COLUMNS {
            let Some(mut writer) = group.next_column()? else { break };
            match column {
                Time(value) => {
                    let (values, levels) =
                        known(&records, |record| number(Some(value(record)).filter(|time| *time != 0)));
                    writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
                }
                Number(value) => {
                    let (values, levels) = known(&records, |record| number(value(record)));
                    writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
                }
                Flag(value) => {
                    let (values, levels) = known(&records, value);
                    writer.typed::<BoolType>().write_batch(&values, Some(&levels), None)?;
                }
                Text(value) => {
                    let text = |record: &Record| Some(value(record)).filter(|text| !text.is_empty());
                    let (values, levels) =
                        known(&records, |record| text(record).map(|text| ByteArray::from(text.into_bytes())));
                    writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
                }
            }
            writer.close()?;
        }
        group.close().map(drop)
    }
}

/// The values that are known, and for each record whether its is (definition level).
fn known<T>(records: &[Record], value: impl Fn(&Record) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let mut values = Vec::new();
    let levels = records.iter().map(|record| {
        let value = value(record);
        let level = i16::from(value.is_some());
        values.extend(value);
        level
    });
    let levels = levels.collect();
    (values, levels)
}

fn number(value: Option<u64>) -> Option<i64> {
    value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use parquet::{
        file::reader::{FileReader, SerializedFileReader},
        record::RowAccessor,
    };

    use super::{super::samples, *};

    #[test]
    fn every_record_is_a_row_that_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let mut writer = Writer::new(std::fs::File::create(&path).unwrap()).unwrap();
        let records = samples::all();
        records.iter().for_each(|record| writer.add(record.clone()).unwrap());
        writer.finish().unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), records.len());
        for (row, record) in rows.iter().zip(&records) {
            assert_eq!(
                serde_json::from_str::<Record>(row.get_string(COLUMNS.len() - 1).unwrap()).unwrap(),
                *record
            );
            assert_eq!(row.get_string(1).unwrap(), &record.kind);
        }
        let place = |name: &str| COLUMNS.iter().position(|(known, _)| *known == name).unwrap();
        assert_eq!(rows[0].get_long(place("input_tokens")).unwrap(), 1200);
        assert_eq!(rows[0].get_string(place("cost")).unwrap(), "0.0123");
        assert!(rows[1].get_long(place("input_tokens")).is_err(), "unknown is null");
    }
}
