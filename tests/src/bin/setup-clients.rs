//! Installs the real clients that the end-to-end tests use.

use clap::Parser;
use keywitness_tests::setup;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Also those that only the matrix needs
    #[arg(long)]
    matrix: bool,
}

fn main() -> anyhow::Result<()> {
    if Arguments::parse().matrix {
        return setup::matrix();
    }
    setup::clients()?;
    setup::stacks()
}
