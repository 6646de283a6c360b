//! `keywitness coverage`: how many calls are known in full, and whose plaintext was read.

use std::{io::Write, process::ExitCode};

use attribution::report::{CoverageReport, ExecutableRow, Joins};
use clap::Args;

use super::{
    look_back,
    sheet::{Cell, Form, Sheet},
};
use crate::{config::Config, records::RecordArgs, term::Term};

/// Arguments of `coverage`.
#[derive(Debug, Args)]
pub(super) struct CoverageArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// What to print; JSON and CSV have the joins first, then the executables
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) fn run(args: &CoverageArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let mut report = CoverageReport::default();
    look_back::each(&args.records, config, |record| report.record(record))?;
    let (joins, executables) = report.rows();
    let mut out = std::io::stdout().lock();
    joins_sheet(joins).write(args.output, term, &mut out)?;
    if args.output != Form::Json {
        writeln!(out)?;
    }
    executables_sheet(executables).write(args.output, term, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn joins_sheet(joins: Joins) -> Sheet {
    let mut sheet = Sheet::new(["join", "calls", "share_percent", "meaning"]);
    for (name, calls, meaning) in [
        ("identity", joins.identity, "the process and its workload are known"),
        ("credential", joins.credential, "a credential was seen"),
        ("credential_scope", joins.credential_scope, "the origin of the credential is known"),
        ("session_closed", joins.session_closed, "made in a session that has ended since"),
        ("session_open", joins.session_open, "made in a session that goes on"),
        ("session_orphaned", joins.session_orphaned, "made after its session had ended"),
        ("governed", joins.governed, "identity, credential in scope, and a closed or open session"),
    ] {
        sheet.row([name.into(), calls.into(), Cell::decimal(percent(calls, joins.calls)), meaning.into()]);
    }
    sheet.total(["calls".into(), joins.calls.into(), Cell::Absent, Cell::Absent]);
    sheet
}

fn executables_sheet(rows: Vec<ExecutableRow>) -> Sheet {
    let mut sheet =
        Sheet::new(["executable", "coverage", "layer", "method", "flows", "calls", "bytes", "reason"]);
    let (mut flows, mut calls, mut bytes) = (0u64, 0u64, 0u64);
    for row in rows {
        flows = flows.saturating_add(row.flows);
        calls = calls.saturating_add(row.calls);
        bytes = bytes.saturating_add(row.bytes);
        sheet.row([
            row.executable.into(),
            row.coverage.into(),
            row.layer.into(),
            row.method.into(),
            row.flows.into(),
            row.calls.into(),
            row.bytes.into(),
            row.reason.into(),
        ]);
    }
    let blank = Cell::Absent;
    sheet.total([
        "total".into(),
        blank.clone(),
        blank.clone(),
        blank.clone(),
        flows.into(),
        calls.into(),
        bytes.into(),
        blank,
    ]);
    sheet
}

/// A share in percent with one digit behind the point, rounded down so that only all is 100.0.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part).saturating_mul(1000).checked_div(u128::from(whole));
    tenths.map(|tenths| format!("{}.{}", tenths / 10, tenths % 10)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn only_all_is_a_hundred_percent() {
        let shown = [(0, 3), (1, 3), (2, 3), (9999, 10_000), (3, 3), (0, 0)]
            .map(|(part, whole)| percent(part, whole));
        assert_eq!(shown, ["0.0", "33.3", "66.6", "99.9", "100.0", ""]);
    }
}
