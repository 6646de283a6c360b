//! `keywitness replay`: recorded records through the rules of today.

use std::{
    io::{BufWriter, Write},
    process::ExitCode,
    sync::Arc,
};

use attribution::{
    detect::Detector,
    replay::{Difference, Replay},
};
use clap::Args;
use proto::v1::Finding;

use super::filter::FilterArgs;
use crate::{
    config::Config,
    records::RecordArgs,
    term::{Style, Term, escape},
};

/// Longest line, in characters.
const MAX_CHARS: usize = 400;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    records: RecordArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(args: ReplayArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let filter = args.filter.resolve(args.records.state_dir(), config)?;
    let mut replay = Replay::new(Detector::new(Arc::default()));
    let mut bad = 0u64;
    for record in args.records.matching(&filter)? {
        match record {
            Ok(record) => replay.record(&record),
            Err(error) => {
                tracing::warn!("{error:#}");
                bad += 1;
            }
        }
    }
    let differences = replay.differences();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for difference in &differences {
        match difference {
            Difference::New(finding) => line(&mut out, term, "+", Style::Alarm, finding, &[])?,
            Difference::Gone(finding) => line(&mut out, term, "-", Style::Good, finding, &[])?,
            Difference::Changed { finding, changes } => {
                line(&mut out, term, "~", Style::Warn, finding, changes)?
            }
        }
    }
    let (records, findings) = (replay.records, replay.findings());
    match differences.len() {
        0 => writeln!(
            out,
            "no difference: {findings} findings from {records} records, as they were found then"
        )?,
        count => writeln!(out, "{count} differences: {findings} findings from {records} records now")?,
    }
    out.flush()?;
    if replay.left_out > 0 {
        tracing::warn!(findings = replay.left_out, "findings did not fit; give a shorter time");
    }
    let same = differences.is_empty() && bad == 0;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(
    out: &mut impl Write,
    term: Term,
    mark: &str,
    style: Style,
    finding: &Finding,
    changes: &[String],
) -> std::io::Result<()> {
    let text = format!("{mark} {} {}: {}", finding.severity, finding.rule, finding.title);
    writeln!(out, "{}", term.paint(style, &escape(&text, MAX_CHARS)))?;
    for change in changes {
        writeln!(out, "    {}", escape(change, MAX_CHARS))?;
    }
    Ok(())
}
