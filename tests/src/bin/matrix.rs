//! Runs every client against the sensor and prints what it said of them; fails if something is not as expected.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use keywitness_tests::matrix;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Also write the table to this file
    #[arg(long)]
    write: Option<PathBuf>,
    /// Only clients with this in their name
    #[arg(long)]
    only: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut rows = matrix::all();
    rows.retain(|row| arguments.only.as_ref().is_none_or(|only| row.name.contains(only)));
    let outcomes = matrix::run(&rows)?;
    print!("{}", matrix::terminal(&outcomes));
    if let Some(file) = &arguments.write {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let machine = format!("Last run: Linux {}.", release.trim());
        std::fs::write(file, matrix::document(&outcomes, &machine))?;
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.complaint.is_empty()).collect();
    for outcome in &failed {
        eprintln!("{}, {}: {}", outcome.row.name, outcome.row.stack, outcome.complaint);
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {} clients are not as expected", failed.len(), outcomes.len())
}
