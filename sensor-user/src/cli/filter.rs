//! Filter options, made from the one table of fields, and points in time.

use std::path::Path;

use attribution::filter::{FIELDS, Filter, Term};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, error::ErrorKind};
use jiff::{Span, Timestamp, Zoned};

use super::fingerprint;
use crate::config::Config;

/// Value of `--key` that stands for a secret on standard input.
const FROM_STDIN: &str = "@-";
const HEADING: &str = "Filters";

/// What to show, as given on the command line.
#[derive(Debug, Clone, Default)]
pub(super) struct FilterArgs {
    filter: Filter,
}

impl FilterArgs {
    /// Whether a time was given.
    pub(super) fn has_time(&self) -> bool {
        self.filter.since != 0 || self.filter.until != 0
    }

    /// The filter, with the fingerprints of secrets from standard input.
    pub(super) fn resolve(self, state_dir: &Path, config: &Config) -> anyhow::Result<Filter> {
        let Filter { since, until, terms } = self.filter;
        let mut filter = Filter { since, until, terms: Vec::new() };
        let mut read: Option<Vec<String>> = None;
        for term in terms {
            if term.value != FROM_STDIN {
                filter.terms.push(term);
                continue;
            }
            let known = match read.take() {
                Some(known) => known,
                None => fingerprint::of_stdin(state_dir, config)?,
            };
            let each = known.iter().map(|value| Term { value: value.clone(), ..term.clone() });
            filter.terms.extend(each);
            read = Some(known);
        }
        filter.check()?;
        Ok(filter)
    }
}

impl Args for FilterArgs {
    fn augment_args(command: Command) -> Command {
        let time = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name("TIME").help(help).value_parser(time).help_heading(HEADING)
        };
        let command = command
            .arg(time("since", "Records from this time on: 2h, 30m, 5d ago, or 2026-05-01T12:00:00Z"))
            .arg(time("until", "Records before this time"));
        let command = FIELDS.iter().fold(command, |command, row| {
            command.arg(
                Arg::new(row.name)
                    .long(row.name)
                    .value_name(row.value)
                    .help(row.help)
                    .action(ArgAction::Append)
                    .help_heading(HEADING),
            )
        });
        command.arg(
            Arg::new("not")
                .long("not")
                .help("Leave out what the next filter matches")
                .action(ArgAction::Append)
                .num_args(0)
                .default_missing_value("true")
                .help_heading(HEADING),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut given: Vec<(usize, Term)> = Vec::new();
        for row in FIELDS {
            let values = matches.get_many::<String>(row.name).into_iter().flatten();
            let places = matches.indices_of(row.name).into_iter().flatten();
            given.extend(
                places
                    .zip(values)
                    .map(|(at, value)| (at, Term { field: row.field, value: value.clone(), not: false })),
            );
        }
        given.sort_by_key(|(at, _)| *at);
        for not in matches.indices_of("not").into_iter().flatten() {
            let next = given.iter_mut().find(|(at, _)| *at > not);
            let (_, term) = next.ok_or_else(|| {
                Error::raw(ErrorKind::MissingRequiredArgument, "--not needs a filter after it\n")
            })?;
            term.not = true;
        }
        let at = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or(0);
        let filter = Filter {
            since: at("since"),
            until: at("until"),
            terms: given.into_iter().map(|(_, term)| term).collect(),
        };
        filter.check().map_err(|error| Error::raw(ErrorKind::ValueValidation, format!("{error}\n")))?;
        Ok(Self { filter })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A point in time, nanoseconds since the epoch: RFC 3339, a local date and time, or how long ago.
fn time(text: &str) -> Result<u64, String> {
    at(text, &Zoned::now())
        .ok_or_else(|| "say 2h, 30m or 5d (ago), or a time such as 2026-05-01T12:00:00Z".to_owned())
}

fn at(text: &str, now: &Zoned) -> Option<u64> {
    let stamp = if let Ok(stamp) = text.parse::<Timestamp>() {
        stamp
    } else if let Ok(ago) = text.parse::<Span>() {
        now.checked_sub(ago).ok()?.timestamp()
    } else {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        local.to_zoned(now.time_zone().clone()).ok()?.timestamp()
    };
    u64::try_from(stamp.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Filter, String> {
        let command = FilterArgs::augment_args(Command::new("x"));
        let matches = command.try_get_matches_from(line.split(' ')).map_err(|error| error.to_string())?;
        FilterArgs::from_arg_matches(&matches).map(|args| args.filter).map_err(|error| error.to_string())
    }

    fn terms(line: &str) -> Vec<String> {
        let shown = |term: &Term| {
            format!("{}{}={}", if term.not { "!" } else { "" }, term.field.row().name, term.value)
        };
        parse(line).unwrap().terms.iter().map(shown).collect()
    }

    #[test]
    fn not_negates_the_filter_after_it() {
        assert_eq!(terms("x --model a --not --model b --kind flow"), ["model=a", "!model=b", "kind=flow"]);
        assert_eq!(terms("x --not --key a --not --pod b --pod c"), ["!key=a", "!pod=b", "pod=c"]);
        assert!(parse("x --model a --not").unwrap_err().contains("a filter after it"));
    }

    #[test]
    fn values_that_match_nothing_are_refused() {
        assert!(parse("x --kind call").unwrap_err().contains("not one of"));
        assert!(parse("x --min-cost much").unwrap_err().contains("not an amount"));
        assert!(parse("x --since yesterday").unwrap_err().contains("ago"));
    }

    #[test]
    fn times_are_durations_ago_or_points() {
        let now: Zoned = "2026-05-02T12:00:00+02:00[Europe/Berlin]".parse().unwrap();
        let shown = |text: &str| at(text, &now).and_then(proto::time::format);
        for (text, expected) in [
            ("2h", "2026-05-02T08:00:00.000000000Z"),
            ("1h30m", "2026-05-02T08:30:00.000000000Z"),
            ("1d", "2026-05-01T10:00:00.000000000Z"),
            ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00.000000000Z"),
            ("2026-05-01T12:00:00", "2026-05-01T10:00:00.000000000Z"),
            ("2026-05-01", "2026-04-30T22:00:00.000000000Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!((shown("soon"), shown("1900-01-01"), shown("99999y")), (None, None, None));
    }
}
