//! What the verbs that look back have in common: records and a policy in, a detector out.

use std::path::{Path, PathBuf};

use attribution::{detect::Detector, filter::Filter, policy::Policy};
use clap::Args;
use proto::v1::Record;

use super::report::Refused;
use crate::{
    config::Config,
    policy::{DEFAULT_PATH, PolicyFileError, Source},
    records::RecordArgs,
};

/// Which policy a verb uses.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    /// Policy file [default: /etc/keywitness/policy.toml, which may be absent]
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
}

impl PolicyArgs {
    /// The policy; `state_dir` has the fleet key.
    pub(super) fn read(&self, state_dir: &Path, config: &Config) -> anyhow::Result<Policy> {
        source(self.policy.as_deref(), state_dir, config).read().map_err(refused)
    }
}

/// The policy file that was named, or the default one, which may be absent.
pub(super) fn source(path: Option<&Path>, state_dir: &Path, config: &Config) -> Source {
    Source {
        path: path.unwrap_or(Path::new(DEFAULT_PATH)).to_owned(),
        optional: path.is_none(),
        state_dir: state_dir.to_owned(),
        config: config.clone(),
    }
}

/// An error with what to do about it.
pub(super) fn refused(error: PolicyFileError) -> anyhow::Error {
    let help = match error {
        PolicyFileError::Unreadable { .. } => "name a readable file with --policy",
        PolicyFileError::TooLarge { .. } => "split it, or leave out what is not needed",
        PolicyFileError::At { .. } => {
            "correct it; `keywitness policy show` prints an example with every setting"
        }
    };
    Refused::new(error.to_string(), help).into()
}

/// Calls `take` with each good record; a bad line is told on standard error.
pub(super) fn each(records: &RecordArgs, config: &Config, take: impl FnMut(&Record)) -> anyhow::Result<()> {
    each_of(records, config, &Filter::default(), take)
}

/// As [`each`], with the records that `filter` lets through.
pub(super) fn each_of(
    records: &RecordArgs,
    config: &Config,
    filter: &Filter,
    mut take: impl FnMut(&Record),
) -> anyhow::Result<()> {
    let mut bad = 0u64;
    for record in records.matching(filter, &config.log)? {
        match record {
            Ok(record) => take(&record),
            // Half of an answer is no answer.
            Err(error) if records.is_remote() => return Err(error),
            Err(error) => {
                tracing::warn!("{error:#}");
                bad += 1;
            }
        }
    }
    if bad > 0 {
        tracing::warn!("{bad} lines were no records and are left out");
    }
    Ok(())
}

/// A detector that has seen all records.
pub(super) fn detector(records: &RecordArgs, config: &Config, policy: Policy) -> anyhow::Result<Detector> {
    let mut detector = Detector::new(policy.into());
    each(records, config, |record| drop(detector.record(record)))?;
    Ok(detector)
}

/// A day and time in UTC; `-` for none.
pub(super) fn time(nanoseconds: u64) -> String {
    let text = (nanoseconds > 0).then(|| proto::time::format(nanoseconds)).flatten();
    text.and_then(|text| text.get(..16).map(|text| text.replace('T', " "))).unwrap_or_else(|| "-".into())
}

/// Dollars with cents.
pub(super) fn dollars(nanos: u64) -> String {
    format!("${}.{:02}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 10_000_000)
}
