//! `keywitness sessions`: the runs of agents and scripts, open and closed.

use std::{io::Write, process::ExitCode};

use attribution::report::{SessionRow, SessionsReport};
use clap::Args;

use super::{
    look_back,
    sheet::{Cell, Form, Sheet},
};
use crate::{config::Config, records::RecordArgs, term::Term};

/// Arguments of `sessions`.
#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Only sessions of known agents
    #[arg(long)]
    agents: bool,
    /// Only sessions with calls after their end
    #[arg(long)]
    orphaned: bool,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

const COLUMNS: [&str; 16] = [
    "session",
    "agent",
    "state",
    "started",
    "ended",
    "calls",
    "orphaned_calls",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "children",
    "credentials",
    "process",
    "workload",
    "parent",
    "client_session",
];

pub(super) fn run(args: &SessionsArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let mut report = SessionsReport::default();
    look_back::each(&args.records, config, |record| report.record(record))?;
    let wanted = |row: &SessionRow| {
        (!args.agents || !row.session.agent.is_empty()) && (!args.orphaned || row.orphaned_calls() > 0)
    };
    let mut sheet = Sheet::new(COLUMNS);
    let (mut sessions, mut calls, mut orphaned) = (0u64, 0u64, 0u64);
    for row in report.rows().into_iter().filter(wanted) {
        sessions += 1;
        calls = calls.saturating_add(row.calls());
        orphaned = orphaned.saturating_add(row.orphaned_calls());
        sheet.row(cells(row));
    }
    let count = Cell::Text(format!("{sessions} sessions"));
    let mut total =
        vec![count, Cell::Absent, Cell::Absent, Cell::Absent, Cell::Absent, calls.into(), orphaned.into()];
    total.resize(COLUMNS.len(), Cell::Absent);
    sheet.total(total);
    let mut out = std::io::stdout().lock();
    sheet.write(args.output, term, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn cells(row: SessionRow) -> [Cell; COLUMNS.len()] {
    let (input, output) = row.tokens();
    let (calls, orphaned, dollars) = (row.calls(), row.orphaned_calls(), row.dollars());
    let session = row.session;
    let process = session.process.map(|process| {
        let name = process.exe.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&process.comm);
        format!("{name}[{}]", process.pid)
    });
    [
        session.id.into(),
        session.agent.into(),
        session.state.into(),
        Cell::time(session.started),
        Cell::time(session.ended),
        calls.into(),
        orphaned.into(),
        input.into(),
        output.into(),
        Cell::decimal(dollars),
        session.children.into(),
        (session.credentials.len() as u64).into(),
        process.unwrap_or_default().into(),
        session.workload.map(|workload| workload.id).unwrap_or_default().into(),
        session.parent.into(),
        session.client_session_id.into(),
    ]
}
