//! `keywitness export`: records in the forms of others.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{filter::FilterArgs, report::Refused};
use crate::{
    config::Config,
    export::{
        deliver::{Address, Form, Target},
        focus::Charges,
        ocsf,
        otel::Semconv,
        parquet::Writer,
        webhook::Body,
    },
    records::{RecordArgs, Records},
    sink::{Sink, json::Json},
};

/// Records of one request to a receiver.
const BATCH: usize = 512;
/// How long a receiver is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// In which form
    #[arg(long, value_enum)]
    format: Format,
    /// Where to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// OTLP receiver, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", required_if_eq("format", "otlp"))]
    endpoint: Option<String>,
    /// How to speak to the OTLP receiver
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,
    /// A header of each request to the OTLP receiver
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Version of the OpenTelemetry GenAI names
    #[arg(long, value_enum, default_value_t)]
    semconv: Semconv,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON lines, as in the log
    Jsonl,
    /// Parquet, a row for each record
    Parquet,
    /// OCSF 1.8.0 events as JSON lines: flows, model calls, findings
    Ocsf,
    /// FOCUS 1.3 as CSV: estimated cost by hour, workload, key and model
    Focus,
    /// OTLP logs and metrics to a receiver
    Otlp,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// gRPC
    #[default]
    Grpc,
    /// HTTP with protobuf; `/v1/logs` and `/v1/metrics` are appended to the URL
    Http,
}

/// What was read and what became of it.
struct Reading {
    records: Records,
    taken: u64,
    bad: u64,
    /// Records that the form has no place for.
    left_out: u64,
}

impl Iterator for Reading {
    type Item = proto::v1::Record;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(record) => {
                    self.taken += 1;
                    return Some(record);
                }
                Err(error) => {
                    tracing::warn!("{error:#}");
                    self.bad += 1;
                }
            }
        }
    }
}

pub(super) fn run(args: ExportArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let filter = args.filter.resolve(args.records.state_dir(), config)?;
    let mut reading =
        Reading { records: args.records.matching(&filter, &config.log)?, taken: 0, bad: 0, left_out: 0 };
    if args.format == Format::Otlp {
        let form = match args.protocol {
            Protocol::Grpc => Form::OtlpGrpc,
            Protocol::Http => Form::OtlpHttp,
        };
        let url = args.endpoint.clone().unwrap_or_default();
        let address =
            Address { form, url, headers: args.header.clone(), semconv: args.semconv, body: Body::default() };
        send(&address, &mut reading)?;
    } else {
        let out: Box<dyn Write + Send> = match &args.output {
            Some(path) => {
                Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?)
            }
            None if args.format == Format::Parquet && std::io::stdout().is_terminal() => {
                let help = "name a file with --output, or redirect standard output";
                return Err(Refused::new("Parquet is not for a terminal", help).into());
            }
            None => Box::new(std::io::stdout()),
        };
        write(args.format, BufWriter::new(out), &mut reading)?;
    }
    let Reading { taken, bad, left_out, .. } = reading;
    tracing::info!(records = taken - left_out, left_out, unreadable = bad, "exported");
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(
    format: Format,
    mut out: BufWriter<Box<dyn Write + Send>>,
    reading: &mut Reading,
) -> anyhow::Result<()> {
    match format {
        Format::Jsonl | Format::Otlp => {
            let mut sink = Json::new(&mut out);
            reading.try_for_each(|record| sink.write(&record))?;
            sink.flush()?;
        }
        Format::Ocsf => {
            while let Some(record) = reading.next() {
                match ocsf::event(&record) {
                    Some(event) => writeln!(out, "{event}")?,
                    None => reading.left_out += 1,
                }
            }
        }
        Format::Focus => {
            let mut charges = Charges::default();
            while let Some(record) = reading.next() {
                reading.left_out += u64::from(record.model_call().is_none());
                charges.add(&record);
            }
            if charges.left_out > 0 {
                tracing::warn!(calls = charges.left_out, "calls did not fit; give a shorter time");
            }
            charges.write(&mut out)?;
        }
        Format::Parquet => {
            let mut writer = Writer::new(&mut out)?;
            reading.try_for_each(|record| writer.add(record))?;
            writer.finish()?;
        }
    }
    out.flush().context("cannot write the export")
}

fn send(address: &Address, reading: &mut Reading) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let help = "give the URL of an OTLP receiver, such as http://127.0.0.1:4317";
        let mut target =
            Target::open(address).map_err(|error| Refused::new(format!("--endpoint: {error}"), help))?;
        loop {
            let batch: Vec<_> = reading.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let accepted = target
                .deliver(&batch, PATIENCE)
                .await
                .map_err(|failure| anyhow::anyhow!("{} took no records: {}", address.url, failure.message))?;
            reading.left_out += accepted.refused;
        }
    })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("say NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
