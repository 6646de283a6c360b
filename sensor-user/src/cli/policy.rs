//! `keywitness policy`: check a policy, make a first one, show what can be written.

use std::{io::Write, path::PathBuf, process::ExitCode};

use attribution::policy::suggest;
use clap::{Args, Subcommand};

use super::{StateArgs, look_back};
use crate::{config::Config, records::RecordArgs};

/// A policy with every setting, as an example.
pub(super) const EXAMPLE: &str = include_str!("policy/example.toml");

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub(super) struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a file; exit code 2 and the place when something is wrong
    Check {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        state: StateArgs,
    },
    /// Write a first policy from what the records have seen
    Suggest {
        #[command(flatten)]
        records: RecordArgs,
        #[command(flatten)]
        policy: look_back::PolicyArgs,
    },
    /// Print an example with every setting
    Show,
}

pub(super) fn run(args: &PolicyArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match &args.verb {
        Verb::Check { file, state } => {
            let source = look_back::source(Some(file), &state.state_dir, config);
            let policy = source.read().map_err(look_back::refused)?;
            writeln!(
                out,
                "{}: good; {} entitlements, {} environments, {} budgets, {} exceptions, {} suppressions",
                file.display(),
                policy.entitlements.len(),
                policy.environments.len(),
                policy.budgets.len(),
                policy.exceptions.len(),
                policy.suppressions.len()
            )?;
        }
        Verb::Suggest { records, policy } => {
            let known = policy.read(records.state_dir(), config)?;
            let mut detector = look_back::detector(records, config, known.clone())?;
            out.write_all(suggest(&detector.consumption(), &known).as_bytes())?;
        }
        Verb::Show => out.write_all(EXAMPLE.as_bytes())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use attribution::policy::Policy;

    use super::*;

    #[test]
    fn the_example_is_a_good_policy_with_every_kind_of_entry() {
        let policy =
            Policy::parse(EXAMPLE, &mut |_| Ok("kw1-x-file".into())).unwrap_or_else(|e| panic!("{e}"));
        assert!(
            !policy.entitlements.is_empty() && !policy.environments.is_empty() && !policy.budgets.is_empty()
        );
        assert!(
            !policy.exceptions.is_empty() && !policy.suppressions.is_empty() && !policy.gateways.is_empty()
        );
    }
}
