//! `keywitness observe`: recorded and live records, through one filter.

use std::{collections::VecDeque, io::Write, process::ExitCode};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use proto::v1::Record;

use super::{filter::FilterArgs, report::Refused};
use crate::{
    config::Config,
    live::{self, Message},
    records::{RecordArgs, Records},
    sink::{Sink, compact::Compact, json::Json, table::Table},
    term::Term,
};

/// Records that are shown when nothing says how many.
const DEFAULT_LAST: usize = 20;
/// Most that `--last` keeps in memory.
const MAX_LAST: usize = 1_000_000;

/// Arguments of `observe`.
#[derive(Debug, Args)]
pub(super) struct ObserveArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// Go on with what the running sensor sees
    #[arg(short, long, conflicts_with_all = ["input_file", "server"])]
    follow: bool,
    /// The last N records [default: 20, unless something else says how many]
    #[arg(long, value_name = "N", group = "amount", value_parser = clap::value_parser!(u64).range(..=MAX_LAST as u64))]
    last: Option<u64>,
    /// The first N records
    #[arg(long, value_name = "N", group = "amount")]
    first: Option<u64>,
    /// All records
    #[arg(long, group = "amount")]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A readable line for each call, findings as blocks
    #[default]
    Compact,
    /// A row for every record of every kind
    Table,
    /// An object per line
    Json,
}

/// How much of the past is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    All,
    First(u64),
    Last(usize),
}

impl Form {
    fn open<W: Write + 'static>(self, term: Term, out: W) -> Box<dyn Sink> {
        let zone = TimeZone::system();
        match self {
            Self::Compact => Box::new(Compact::new(out, term, zone)),
            Self::Table => Box::new(Table::new(out, term, zone)),
            Self::Json => Box::new(Json::new(out)),
        }
    }
}

impl ObserveArgs {
    fn amount(&self) -> Amount {
        let last = |count: u64| Amount::Last(usize::try_from(count).unwrap_or(MAX_LAST));
        match (self.last, self.first) {
            (Some(count), _) => last(count),
            (_, Some(count)) => Amount::First(count),
            _ if self.all || self.filter.has_time() || self.records.is_named() => Amount::All,
            _ if self.follow => Amount::Last(0),
            _ => Amount::Last(DEFAULT_LAST),
        }
    }
}

pub(super) fn run(args: ObserveArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let amount = args.amount();
    let filter = args.filter.resolve(args.records.state_dir(), config)?;
    let mut sink = args.output.open(term, std::io::stdout());
    // Live records first begin to wait, so that none is missed between the past and the present.
    let live = match args.follow {
        true => Some(live::follow(args.records.state_dir(), &filter).map_err(|error| {
            Refused::new(error.to_string(), "start `keywitness run` on this host, or leave out --follow")
        })?),
        false => None,
    };
    let mut past = Past { shown: None, bad: 0 };
    if amount != Amount::Last(0) {
        let last = match amount {
            Amount::Last(most) => Some(most),
            Amount::All | Amount::First(_) => None,
        };
        past.show(args.records.newest(&filter, last, &config.log)?, amount, sink.as_mut())?;
    }
    sink.flush()?;
    let Some(live) = live else {
        return Ok(if past.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    for message in live {
        match message? {
            Message::Record(record) if past.has(&record) => {}
            Message::Record(record) => sink.write(&record)?,
            Message::Dropped(count) => {
                tracing::warn!(count, "records left out: they came faster than they were read")
            }
            Message::Idle => sink.flush()?,
        }
    }
    sink.flush()?;
    tracing::info!("the sensor stopped");
    Ok(ExitCode::SUCCESS)
}

/// What was shown of the log.
struct Past {
    /// Boot and number of the last record shown.
    shown: Option<(String, u64)>,
    /// Lines that are no records.
    bad: u64,
}

impl Past {
    fn show(&mut self, records: Records, amount: Amount, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let mut kept: VecDeque<Record> = VecDeque::new();
        let mut count = 0;
        for record in records {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!("{error:#}");
                    self.bad += 1;
                    continue;
                }
            };
            if let Some((_, boot, seq)) = record.place() {
                self.shown = Some((boot.to_owned(), seq));
            }
            match amount {
                Amount::Last(most) => {
                    if kept.len() >= most {
                        kept.pop_front();
                    }
                    kept.push_back(record);
                }
                Amount::All | Amount::First(_) => {
                    sink.write(&record)?;
                    count += 1;
                    if amount == Amount::First(count) {
                        break;
                    }
                }
            }
        }
        for record in kept {
            sink.write(&record)?;
        }
        Ok(())
    }

    /// Whether a live record was already shown: numbers grow within a boot.
    fn has(&self, record: &Record) -> bool {
        let shown = self.shown.as_ref();
        shown.zip(record.place()).is_some_and(|((boot, last), (_, at, seq))| boot == at && seq <= *last)
    }
}
