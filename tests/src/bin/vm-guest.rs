//! What a test machine with another kernel runs: the sensor in each tier of hooks, and real clients, held against what
//! the endpoint received. Prints one JSON object a line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use keywitness_tests::guest;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install the clients, and print a path a line: what a machine needs besides this workspace's programs
    Needs {
        /// Only what the short run needs
        #[arg(long)]
        smoke: bool,
    },
    /// Look at the kernel, run every tier
    Run {
        /// A few clients only
        #[arg(long)]
        smoke: bool,
    },
    /// In a system with systemd: install, upgrade and remove the package, then run tests of the workspace
    System {
        /// The package that is installed first
        #[arg(long)]
        built: PathBuf,
        /// The package that it is upgraded to
        #[arg(long)]
        new: PathBuf,
        /// A test program of this workspace
        #[arg(long)]
        program: PathBuf,
        /// Names of its tests
        tests: Vec<String>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Needs { smoke } => guest::needs(smoke)?.iter().for_each(|path| println!("{}", path.display())),
        Verb::Run { smoke } => guest::run(smoke, &mut std::io::stdout())?,
        Verb::System { built, new, program, tests } => {
            guest::system(&built, &new, &program, &tests, &mut std::io::stdout())?;
        }
    }
    Ok(())
}
