//! `keywitness timeline`: an incident in order.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use attribution::filter::{Field, Filter};
use clap::Args;
use jiff::tz::TimeZone;

use super::{filter::FilterArgs, report::Refused};
use crate::{
    config::Config,
    records::RecordArgs,
    term::Term,
    timeline::{Timeline, html, terminal},
};

/// One of these has to be asked for.
const SUBJECTS: [Field; 4] = [Field::Key, Field::Workload, Field::Session, Field::Process];

/// Arguments of `timeline`.
#[derive(Debug, Args)]
pub(super) struct TimelineArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Write a self-contained HTML page with a picture of who used which key, `-` for standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(super) fn run(args: TimelineArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let filter = args.filter.resolve(args.records.state_dir(), config)?;
    if !filter.terms.iter().any(|term| SUBJECTS.contains(&term.field) && !term.not) {
        let help = "name what to look at with --key, --workload, --session or --process";
        return Err(Refused::new("a timeline is of something", help).into());
    }
    // What a session's processes opened does not name the session.
    let read = match Timeline::needs_all(&filter) {
        true => Filter { since: filter.since, until: filter.until, terms: Vec::new() },
        false => filter.clone(),
    };
    let mut bad = 0u64;
    let timeline = Timeline::collect(&filter, args.records.matching(&read, &config.log)?, |error| {
        tracing::warn!("{error:#}");
        bad += 1;
    });
    if timeline.events.is_empty() {
        tracing::warn!("no record matches");
    }
    let zone = TimeZone::system();
    let stdout = std::io::stdout();
    match &args.html {
        None => terminal::print(&timeline, &term, &zone, &mut BufWriter::new(stdout.lock()))?,
        Some(path) if path.as_os_str() == "-" => {
            html::write(&timeline, &title(&filter), &zone, &mut BufWriter::new(stdout.lock()))?;
        }
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            let mut out = BufWriter::new(file);
            html::write(&timeline, &title(&filter), &zone, &mut out)?;
            out.flush().with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn title(filter: &Filter) -> String {
    let words = filter.terms.iter().map(|term| {
        let not = if term.not { "not " } else { "" };
        format!("{not}{} {}", term.field.row().name, term.value)
    });
    format!("Keywitness timeline: {}", words.collect::<Vec<_>>().join(", "))
}
