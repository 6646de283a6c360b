//! `keywitness keys`: every credential, who used it, where it came from and what it took.

use std::{io::Write, process::ExitCode};

use attribution::report::KeysReport;
use clap::Args;

use super::{
    look_back,
    sheet::{Cell, Form, Sheet},
};
use crate::{config::Config, records::RecordArgs, term::Term};

/// Arguments of `keys`.
#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Only credentials that two or more identities used
    #[arg(long)]
    shared: bool,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

const COLUMNS: [&str; 14] = [
    "fingerprint",
    "hint",
    "provider",
    "kind",
    "lifetime",
    "calls",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "workloads",
    "origins",
    "first_seen",
    "last_seen",
    "shared",
];

pub(super) fn run(args: &KeysArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let mut report = KeysReport::default();
    look_back::each(&args.records, config, |record| report.record(record))?;
    let mut sheet = Sheet::new(COLUMNS);
    let (mut keys, mut calls) = (0u64, 0u64);
    for row in report.rows().into_iter().filter(|row| row.shared || !args.shared) {
        keys += 1;
        calls = calls.saturating_add(row.total.calls);
        sheet.row([
            row.fingerprint.into(),
            row.hint.into(),
            row.provider.into(),
            row.kind.into(),
            row.lifetime.into(),
            row.total.calls.into(),
            row.total.input.into(),
            row.total.output.into(),
            Cell::decimal(row.total.dollars()),
            Cell::List(row.workloads.names.into_iter().collect(), row.workloads.more),
            Cell::List(row.origins.names.into_iter().collect(), row.origins.more),
            Cell::time(row.seen.first),
            Cell::time(row.seen.last),
            Cell::Flag(row.shared),
        ]);
    }
    let count = Cell::Text(format!("{keys} credentials"));
    let mut total = vec![count, Cell::Absent, Cell::Absent, Cell::Absent, Cell::Absent, calls.into()];
    total.resize(COLUMNS.len(), Cell::Absent);
    sheet.total(total);
    let mut out = std::io::stdout().lock();
    sheet.write(args.output, term, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
