//! `keywitness replay`: recorded records through the rules of today.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use attribution::{
    call::Toolkit,
    credential::{FleetKey, KEY_BYTES},
    detect::Detector,
    filter::Filter,
    pipeline::{Attribution, Output},
    replay::{Difference, Replay},
};
use clap::Args;
use proto::v1::Finding;

use super::{filter::FilterArgs, look_back::PolicyArgs};
use crate::{
    config::Config,
    recorder,
    records::RecordArgs,
    sink::{Sink, json::Json},
    term::{Style, Term, escape},
};

/// Longest line, in characters.
const MAX_CHARS: usize = 400;

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Lead recorded events (see `keywitness record`) through attribution, and print its records as JSON lines
    #[arg(long, value_name = "FILE", conflicts_with = "input_file")]
    events: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Records of recorded events. No secret is in them, so that any fleet key will do.
fn events(path: &Path, filter: &Filter, config: &Config) -> anyhow::Result<ExitCode> {
    let (info, events) = recorder::read(path)?;
    let key = Arc::new(FleetKey::new(&mut [0; KEY_BYTES]));
    let kit = Toolkit::new(Arc::new(config.catalogue()?), key, config.credentials.hint)
        .with_prices(config.prices()?);
    let mut attribution = Attribution::new(kit, info);
    let mut out = Json::new(std::io::stdout());
    let mut bad = 0u64;
    let mut show = |attribution: &mut Attribution| -> std::io::Result<()> {
        for output in attribution.outputs() {
            if let Output::Record(record) = output
                && filter.matches(&record)
            {
                out.write(&record)?;
            }
        }
        Ok(())
    };
    for event in events {
        match event {
            Ok(event) => attribution.event(event),
            Err(error) => {
                tracing::warn!("{error:#}");
                bad += 1;
            }
        }
        show(&mut attribution)?;
    }
    attribution.finish();
    show(&mut attribution)?;
    out.flush()?;
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn run(args: ReplayArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let filter = args.filter.resolve(args.records.state_dir(), config)?;
    if let Some(path) = &args.events {
        return events(path, &filter, config);
    }
    let policy = args.policy.read(args.records.state_dir(), config)?;
    let mut replay = Replay::new(Detector::new(Arc::new(policy)));
    let mut bad = 0u64;
    for record in args.records.matching(&filter, &config.log)? {
        match record {
            Ok(record) => replay.record(&record),
            Err(error) => {
                tracing::warn!("{error:#}");
                bad += 1;
            }
        }
    }
    replay.end();
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
        count => {
            let what = if count == 1 { "difference" } else { "differences" };
            writeln!(out, "{count} {what}: {findings} findings from {records} records now")?;
        }
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
