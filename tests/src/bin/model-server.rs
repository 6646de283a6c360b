//! A local TLS endpoint that answers like the model providers.

use clap::Parser;
use keywitness_tests::server;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(flatten)]
    options: server::Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    server::run(Arguments::parse().options).await
}
