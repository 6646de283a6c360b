//! `keywitness config`: the default configuration, and a check of a file.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use crate::config::{Config, DEFAULT_TEXT};

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the default configuration with a comment for every setting
    ShowDefault,
    /// Check a file, provider entries included; exit code 2 and the place when something is wrong
    Check {
        /// The file
        file: PathBuf,
    },
}

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match &args.verb {
        Verb::ShowDefault => out.write_all(DEFAULT_TEXT.as_bytes())?,
        Verb::Check { file } => {
            let config = Config::load(Some(file))?;
            let providers = config.catalogue()?.providers().len();
            let (listed, own) = config.prices()?.len();
            let prices = format!("{listed} models have a list price, {own} one of your own");
            writeln!(out, "{}: good; the catalogue has {providers} providers, {prices}", file.display())?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
