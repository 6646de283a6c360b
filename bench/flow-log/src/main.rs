//! Measures the flow log, and the stores it was chosen over, on the same records in the same run.
//!
//! Prints a JSON row for each measurement. Every store takes the same lines in batches of the same size and makes
//! each batch durable as it can: the flow log, redb and fjall by fsync or fdatasync; yaque once as it is
//! and once synced from outside. SQLite (WAL, synchronous=NORMAL) and yaque as it is do not sync each batch, which is
//! their advantage here.

mod append;
mod read;
mod records;
mod size;

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Folder for the files of the measurements; a new one below it is used and removed
    #[arg(long)]
    folder: PathBuf,
    /// Rounds; each one measures every store once
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Records of each append and scan
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Records that each store makes durable at once
    #[arg(long, default_value_t = 512)]
    batch: usize,
    /// Size of the log of the `last` measurement, in bytes
    #[arg(long, default_value_t = 1_000_000_000)]
    large: u64,
    /// Measure `keywitness observe --last 20` on that log, too, with this executable
    #[arg(long, value_name = "FILE")]
    keywitness: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = arguments.folder.join(format!("bench-flow-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&arguments, &folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(arguments: &Arguments, folder: &std::path::Path) -> Result<()> {
    let lines = records::lines(arguments.records, false);
    let raw: usize = lines.iter().map(Vec::len).sum();
    row(&json!({ "row": "input", "records": lines.len(), "bytes": raw }));
    for round in 0..arguments.rounds {
        for store in append::STORES {
            let at = folder.join("store");
            let begun = Instant::now();
            (store.append)(&at, &lines, arguments.batch)?;
            let seconds = begun.elapsed().as_secs_f64();
            let bytes = size::size(&at)?;
            row(&json!({
                "row": "append", "round": round, "store": store.name, "seconds": seconds,
                "per_second": lines.len() as f64 / seconds, "bytes": bytes,
            }));
            std::fs::remove_dir_all(&at)?;
        }
    }
    let at = folder.join("size");
    for (name, mix) in [("calls", false), ("mix", true)] {
        // Ten records a commit: a quiet host.
        let lines = records::lines(arguments.records.min(50_000), mix);
        append::packed(&at, &lines, 10)?;
        row(&json!({
            "row": "size", "what": name, "records": lines.len(),
            "bytes_each": size::size(&at)? as f64 / lines.len() as f64,
        }));
        if mix {
            read::scan(&at, arguments.rounds, lines.len())?;
        }
        std::fs::remove_dir_all(&at)?;
    }
    let large = folder.join("large");
    read::fill(&large, arguments.large)?;
    read::last(&large, arguments.rounds)?;
    match &arguments.keywitness {
        Some(program) => read::observe(program, &large, arguments.rounds),
        None => Ok(()),
    }
}

/// Standard output has the rows.
fn row(value: &Value) {
    println!("{value}");
}
