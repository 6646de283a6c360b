//! `keywitness cost`: what was spent, and by whom.

use std::{io::Write, process::ExitCode};

use attribution::cost::Total;
use attribution::report::{self, CostReport, CostRow};
use clap::{Args, ValueEnum};

use super::{
    look_back,
    sheet::{Cell, Form, Sheet},
};
use crate::{config::Config, records::RecordArgs, term::Term};

/// Arguments of `cost`.
#[derive(Debug, Args)]
pub(super) struct CostArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// By what calls are summed up
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    by: By,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// Workload, or the executable where none is known
    #[default]
    Workload,
    /// Credential
    Key,
    /// Provider and model
    Model,
    /// Session
    Session,
}

impl From<By> for report::By {
    fn from(by: By) -> Self {
        match by {
            By::Workload => Self::Workload,
            By::Key => Self::Key,
            By::Model => Self::Model,
            By::Session => Self::Session,
        }
    }
}

impl By {
    /// Name of the column with what is summed up, and of that which says more.
    fn columns(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Workload => ("workload", None),
            Self::Key => ("fingerprint", Some("hint")),
            Self::Model => ("model", None),
            Self::Session => ("session", Some("agent")),
        }
    }
}

pub(super) fn run(args: &CostArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let mut report = CostReport::new(args.by.into());
    look_back::each(&args.records, config, |record| report.record(record))?;
    let (name, detail) = args.by.columns();
    let sums = [
        "calls",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cost_usd",
        "subscription_calls",
        "unpriced_calls",
    ];
    let columns: Vec<&str> = [name].into_iter().chain(detail).chain(sums).collect();
    let mut sheet = Sheet::new(columns);
    let (rows, total) = report.rows();
    for row in rows {
        sheet.row(cells(row, detail.is_some()));
    }
    sheet.total(cells(CostRow { name: "total".into(), detail: String::new(), total }, detail.is_some()));
    let mut out = std::io::stdout().lock();
    sheet.write(args.output, term, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn cells(row: CostRow, detailed: bool) -> Vec<Cell> {
    let Total { calls, input, output, cache_read, cache_write, reasoning, subscription, unpriced, .. } =
        row.total;
    let names = [Some(row.name), detailed.then_some(row.detail)].into_iter().flatten().map(Cell::from);
    let counts =
        [calls.into(), input.into(), cache_read.into(), cache_write.into(), output.into(), reasoning.into()];
    let money = [Cell::decimal(row.total.dollars()), subscription.into(), unpriced.into()];
    names.chain(counts).chain(money).collect()
}
