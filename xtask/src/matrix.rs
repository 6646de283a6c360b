//! `matrix`: every client that can be had against the sensor, and the table of what it said of them.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::shell::{require_root, run, say};
use crate::test::FEATURES;
use crate::{build, mounts, setup, workspace};

/// The table, below the repository's root.
const TABLE: &str = "docs/clients.md";

/// How to run it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only print the table, leave docs/clients.md as it is
    #[arg(long)]
    dry_run: bool,
    /// Only clients with this in their name; implies --dry-run
    #[arg(long)]
    only: Option<String>,
}

/// Runs the verb.
pub(crate) fn main(args: &Args) -> Result<()> {
    require_root("the sensor")?;
    setup::ensure(&setup::Args { tests: true, matrix: true, ..setup::Args::default() })?;
    mounts::add_missing()?;
    build::kernel()?;
    say("building the user side");
    run(workspace::cargo("build").args(FEATURES))?;
    say("setting up the clients");
    let mut clients = Command::new(workspace::executable("setup-clients", false));
    run(clients.arg("--matrix").stdin(Stdio::null()).env("CARGO_TARGET_DIR", workspace::target_dir()))?;
    let mut matrix = Command::new(workspace::executable("matrix", false));
    matrix.stdin(Stdio::null()).env("CARGO_TARGET_DIR", workspace::target_dir());
    // So many files are probed that letting go of them takes longer than in a test.
    matrix.env("KEYWITNESS_PATIENCE", "4");
    if let Some(only) = &args.only {
        matrix.arg("--only").arg(only);
    } else if !args.dry_run {
        matrix.arg("--write").arg(workspace::root().join(TABLE));
    }
    run(&mut matrix)
}
