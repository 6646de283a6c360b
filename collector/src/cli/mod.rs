//! The command line. Results on standard output, logs on standard error; exit codes 0 done, 1 failed,
//! 2 refused (usage, certificates).

mod certificates;
mod serve;
mod tokens;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Where the collector keeps everything.
const DIR: &str = "/var/lib/keywitness-collector";
/// Where sensors connect.
const LISTEN: &str = "[::]:7443";
/// Where questions are asked.
const QUERY: &str = "[::]:7444";
/// The tenant where nobody needs several.
const TENANT: &str = "default";

/// What is logged. Strangers make h2 warn as often as they like, about connections that are ended for it.
const LOGGED: &str = "warn,collector=info,h2=error";

/// Receives the records of Keywitness sensors, keeps them, and finds what no single host can see: a key that two
/// hosts share, a sensor that went silent, records that are missing.
#[derive(Debug, Parser)]
#[command(
    name = "keywitness-collector",
    version,
    about = "Collects the records of Keywitness sensors and finds what no single host can see",
    long_about,
    after_help = "\
Examples:
  keywitness-collector init --name collector.example --sensor web-1 --sensor web-2
  keywitness-collector
  keywitness-collector issue web-3
  keywitness-collector token add --note dashboard

Without a command it serves; the first time it makes its certificates, for this host's name."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    /// Folder of state, records and certificates
    #[arg(long, global = true, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive records and answer questions (the default)
    Serve(ServeArgs),
    /// Make a certificate authority, the collector's certificate and certificates of sensors
    Init(InitArgs),
    /// Make or renew the certificate of a sensor
    Issue(IssueArgs),
    /// Tokens of those who ask
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it; it reads what one tenant has, and cannot be shown again
    Add(TokenArgs),
    /// End all tokens of a tenant with this note
    Remove(TokenArgs),
}

/// Arguments of `token`.
#[derive(Debug, Args)]
struct TokenArgs {
    /// Whose records it reads
    #[arg(long, value_name = "NAME", default_value = TENANT)]
    tenant: String,
    /// Who has it
    #[arg(long, value_name = "TEXT")]
    note: String,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Address for sensors
    #[arg(long, value_name = "ADDRESS:PORT", default_value = LISTEN)]
    listen: SocketAddr,
    /// Folder with ca.pem, server.pem and server.key [default: pki in the folder of state]
    #[arg(long, value_name = "DIR")]
    pki: Option<PathBuf>,
    /// Address for questions (HTTP JSON)
    #[arg(long, value_name = "ADDRESS:PORT", default_value = QUERY)]
    query: SocketAddr,
    /// Address for Prometheus and probes (HTTP without TLS or authentication) [default: none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Name of this collector in its own records [default: the host's]
    #[arg(long, value_name = "NAME")]
    collector_name: Option<String>,
    /// Seconds without a record after which a sensor is reported as silent
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    silent_after: u64,
    /// Size of each tenant's log on disk, GiB; the oldest records go first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    retain_gib: u64,
    /// Age of the oldest records, days
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=36_500))]
    retain_days: u64,
    /// Policy by which findings are judged [default: policy.toml in the folder of state, which may be absent]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
struct InitArgs {
    /// A name or address by which sensors reach this collector; more than once for several
    #[arg(long = "name", value_name = "NAME", required = true)]
    names: Vec<String>,
    /// A sensor, by the name of its host; more than once for several
    #[arg(long = "sensor", value_name = "HOST")]
    sensors: Vec<String>,
    #[command(flatten)]
    each: CertificateArgs,
}

/// Arguments of `issue`.
#[derive(Debug, Args)]
struct IssueArgs {
    /// Name of the sensor's host, as in its records
    host: String,
    #[command(flatten)]
    each: CertificateArgs,
}

/// What certificates have in common.
#[derive(Debug, Args)]
struct CertificateArgs {
    /// Whose sensors they are
    #[arg(long, value_name = "NAME", default_value = TENANT)]
    tenant: String,
    /// Days that certificates are valid
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Folder for the sensors' certificates, a folder for each [default: sensors in the folder of state]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // When even the message cannot be written, the code still tells.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    // A second call in one process keeps the first.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let dir = cli.dir;
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(args) => serve::run(&dir, args),
        Command::Init(args) => certificates::init(&dir, &args),
        Command::Issue(args) => certificates::issue(&dir, &args),
        Command::Token(TokenCommand::Add(args)) => tokens::add(&dir, &args),
        Command::Token(TokenCommand::Remove(args)) => tokens::remove(&dir, &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            let refused =
                error.is::<crate::tls::TlsError>() || error.is::<crate::authority::AuthorityError>();
            ExitCode::from(if refused { 2 } else { 1 })
        }
    }
}

/// An error with its causes; many say theirs already.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_and_takes_the_options_of_serve() {
        let cli =
            Cli::try_parse_from(["keywitness-collector", "--listen", "127.0.0.1:1", "--dir", "/x"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!((cli.serve.listen.port(), cli.dir), (1, PathBuf::from("/x")));
    }
}
