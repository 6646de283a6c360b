//! Starts many short-lived processes at a steady rate and prints `index pid` for each.
//!
//! They are children of this process, so they start in its cgroup and no other program runs before them.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Parser;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Processes to start
    #[arg(long)]
    count: u32,
    /// Processes per second
    #[arg(long)]
    rate: u32,
    /// Program to start
    program: PathBuf,
    /// Its arguments; `{}` becomes the index of the process
    #[arg(last = true)]
    arguments: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let step = Duration::from_secs(1) / arguments.rate.max(1);
    let start = Instant::now();
    let mut running: Vec<Child> = Vec::new();
    let mut failed = 0_u32;
    for index in 0..arguments.count {
        std::thread::sleep((start + step * index).saturating_duration_since(Instant::now()));
        let filled = arguments.arguments.iter().map(|argument| argument.replace("{}", &index.to_string()));
        let child = Command::new(&arguments.program)
            .args(filled)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        println!("{index} {}", child.id());
        running.push(child);
        let mut left = Vec::with_capacity(running.len());
        for mut child in running {
            match child.try_wait()? {
                Some(status) => failed += u32::from(!status.success()),
                None => left.push(child),
            }
        }
        running = left;
    }
    for mut child in running {
        failed += u32::from(!child.wait()?.success());
    }
    if failed > 0 {
        bail!("{failed} of {} processes failed", arguments.count);
    }
    Ok(())
}
