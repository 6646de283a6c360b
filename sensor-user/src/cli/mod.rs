//! The command line.
//!
//! Standard output has results only, standard error has logs and errors. Exit codes: 0 done, 1 failed,
//! 2 refused (usage, configuration, privileges or what the kernel lacks); `doctor` has its own meanings.

mod aligned;
mod columns;
mod completions;
mod config;
mod cost;
mod coverage;
mod doctor;
mod export;
mod filter;
mod findings;
mod fingerprint;
mod keys;
mod log;
mod look_back;
mod observe;
mod policy;
mod reconcile;
mod replay;
mod report;
mod review;
mod revoke_plan;
mod run;
mod sessions;
mod sheet;
mod timeline;

use std::{path::PathBuf, process::ExitCode};

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{Config, Format, RingBytes, StatusInterval},
    sink::compact::LEGEND,
    term::{ColorChoice, Term},
};

/// Where the fleet key is kept.
pub(crate) const STATE_DIR: &str = "/var/lib/keywitness";

/// Keywitness says which process, in which workload, with which credential, is behind every call to an AI model
/// endpoint from this host, and how many tokens it took. It watches from the kernel: programs, their SDKs and
/// proxies stay as they are, and prompts and keys never leave the host.
#[derive(Debug, Parser)]
#[command(
    name = "keywitness",
    version,
    about = "Says which process, workload and credential is behind every call to an AI model endpoint",
    long_about,
    arg_required_else_help = true,
    after_help = "\
Examples:
  sudo keywitness run                      watch this host, a line per model call
  sudo keywitness run -o json | jq .       all records as JSON lines
  sudo keywitness doctor                   what this host can do, and what is missing
  sudo keywitness fingerprint < leaked.txt the fingerprint of a key, to look for in records

Exit codes: 0 done, 1 failed, 2 refused (usage, configuration, privileges, kernel)."
)]
struct Cli {
    /// Configuration file [default: /etc/keywitness/config.toml, which may be absent]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// More logs on standard error; twice for all [RUST_LOG sets them one by one]
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Only errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host and print who calls which model with which key
    #[command(after_help = format!("\
Examples:
  sudo keywitness run
  sudo keywitness run -o json --status-interval 60 > records.jsonl

{LEGEND}

Ctrl-C ends it; it then detaches everything from the kernel."))]
    Run(RunArgs),
    /// Show what this host can do, hook by hook, and what is lost without what is missing
    #[command(after_help = "\
Loads and attaches every kernel program for a moment, so it needs the privileges of `run`.
Exit codes: 0 everything works, 1 `run` works but sees less, 2 `run` cannot start.

With --binary it only reads the file, and needs no privileges:
  keywitness doctor --binary /usr/bin/node
Exit codes then: 0 its TLS functions are found, 1 they are not.")]
    Doctor(doctor::DoctorArgs),
    /// Print the fingerprints of secrets: who used this leaked key?
    #[command(after_help = "\
Reads one secret per line from standard input; a pasted header like `Authorization: Bearer sk-…`
is taken apart. The secret is never printed or stored. A file or pipe keeps it out of the shell's
history:
  sudo keywitness fingerprint < leaked.txt
  pass show openai | sudo keywitness fingerprint -o json")]
    Fingerprint(fingerprint::FingerprintArgs),
    /// Show the default configuration, or check a configuration file
    #[command(after_help = "\
Examples:
  keywitness config show-default > config.toml
  keywitness config check config.toml")]
    Config(config::ConfigArgs),
    /// Show recorded and live records
    #[command(after_help = format!("\
Examples:
  sudo keywitness observe                                the last 20 records of this host
  sudo keywitness observe --since 2h --workload 'k8s://prod/shop/*'
  sudo keywitness observe -f --kind model_call --not --provider openai
  sudo keywitness observe --key @- -o table < leaked.txt    who used this leaked key?
  keywitness observe --input-file logs/ --finding '*' -o json | jq .

Values of one filter are alternatives, different filters all have to hold, --not negates the next one.

{LEGEND}"))]
    Observe(observe::ObserveArgs),
    /// Show what happened to a key, a workload or a session, in order
    #[command(after_help = "\
Examples:
  sudo keywitness timeline --key kw1-1a2b --since 1d
  sudo keywitness timeline --session 0198f2 --html incident.html
  keywitness timeline --input-file logs/ --workload 'docker://*/web' --html - > incident.html")]
    Timeline(timeline::TimelineArgs),
    /// Give records to other tools: JSON lines, Parquet, OCSF, FOCUS, OTLP
    #[command(after_help = "\
Examples:
  sudo keywitness export --format parquet --since 30d -o calls.parquet
  sudo keywitness export --format ocsf --kind finding | curl --data-binary @- https://siem.example.net/
  sudo keywitness export --format focus --since 30d > showback.csv
  sudo keywitness export --format otlp --endpoint http://127.0.0.1:4318 --protocol http --since 1h")]
    Export(export::ExportArgs),
    /// Watch as `run` does, and record the events behind it to a file that replays elsewhere
    #[command(after_help = "\
Example:
  sudo keywitness record events.zst            until Ctrl-C
  keywitness replay --events events.zst        needs no privileges

A recording holds no key, prompt or answer: in place of plaintext it has what was read out of it.")]
    Record(EventArgs),
    /// Look at recorded records with the rules of today, and print which findings differ
    #[command(after_help = "\
Examples:
  sudo keywitness replay --since 30d
  sudo keywitness replay --policy new-policy.toml  what another policy would have found
  keywitness replay --input-file logs/
  keywitness replay --events events.zst          the records that recorded events lead to

+ is found now but was not then, - was found then but is not now, ~ is found differently.
Exit codes: 0 nothing differs, 1 something does.")]
    Replay(replay::ReplayArgs),
    /// Print a script that completes commands in a shell
    #[command(after_help = "\
Example:
  keywitness completions bash > /etc/bash_completion.d/keywitness")]
    Completions(completions::CompletionArgs),
    /// Print the manual page, or write one for each verb to a folder
    #[command(after_help = "\
Example:
  keywitness man /usr/local/share/man/man1")]
    Man(completions::ManArgs),
    /// List credentials: who used them, where they came from, what they took
    #[command(after_help = "\
Examples:
  sudo keywitness keys
  sudo keywitness keys --shared -o json | jq -r .fingerprint")]
    Keys(keys::KeysArgs),
    /// Sum up what calls cost, by workload, key, model or session
    #[command(after_help = "\
Money that a provider reported counts before the user's own prices ([cost] in the configuration) and
those before list prices. Calls paid by subscription and calls without a known price are counted apart.

Examples:
  sudo keywitness cost
  sudo keywitness cost --by model -o csv > cost.csv")]
    Cost(cost::CostArgs),
    /// List the runs of agents and scripts, with what they took and what survived them
    #[command(after_help = "\
Examples:
  sudo keywitness sessions --agents
  sudo keywitness sessions --orphaned -o json")]
    Sessions(sessions::SessionsArgs),
    /// Show how many calls have identity, credential and session, and whose plaintext was read
    #[command(after_help = "\
Examples:
  sudo keywitness coverage
  keywitness run -o json | keywitness coverage --input-file -")]
    Coverage(coverage::CoverageArgs),
    /// Show what is in the log, or check that it is whole
    #[command(after_help = "\
Examples:
  sudo keywitness log info                   segments, records, times, sizes, gaps
  sudo keywitness log verify                 every checksum, every hash, every link
  keywitness log verify --dir /mnt/copy      a copy from another host
  zstdcat /var/lib/keywitness/log/*.jsonl.zst | jq .kind

Exit codes of verify: 0 whole, 1 broken (the first break is named).")]
    Log(log::LogArgs),
    /// Show what was found, or the rules that find it
    #[command(after_help = "\
Examples:
  sudo keywitness findings
  sudo keywitness findings --fail-on high    exit code 1 when there is one
  sudo keywitness findings --policy new.toml judge them again by another policy
  keywitness findings --rules                                      every rule and its parameters")]
    Findings(findings::FindingsArgs),
    /// Check a policy, or write a first one
    #[command(after_help = "\
Examples:
  keywitness policy show > policy.toml
  keywitness policy check policy.toml
  sudo keywitness policy suggest > policy.toml")]
    Policy(policy::PolicyArgs),
    /// Print who owns which credential, who used it, how much, and what should change
    #[command(after_help = "\
Examples:
  sudo keywitness review
  sudo keywitness review -o markdown > review.md")]
    Review(review::ReviewArgs),
    /// Print what stops working when a key is revoked now
    #[command(after_help = "\
Examples:
  sudo keywitness revoke-plan --key kw1-…
  sudo keywitness revoke-plan --key billing-bot   by the label of its entitlement")]
    RevokePlan(revoke_plan::RevokePlanArgs),
    /// Compare a provider's own account of usage with what was seen
    #[command(after_help = "\
Examples:
  sudo keywitness reconcile --provider openai --usage usage.json --keys keys.json

The export is what the provider's administration interface answers, page after page in one file, in buckets of
a day and grouped by api_key_id and model: for OpenAI /v1/organization/usage/completions or /v1/organization/costs,
for Anthropic /v1/organizations/usage_report/messages or /v1/organizations/cost_report. Unseen spend is traffic
that never passed a sensor.")]
    Reconcile(reconcile::ReconcileArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// What to print [default: compact, or as configured]
    #[arg(short, long, value_name = "FORM", value_enum)]
    output: Option<Format>,
    #[command(flatten)]
    state: StateArgs,
    /// Policy file, read again when it changes [default: /etc/keywitness/policy.toml, which may be absent]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Log what the kernel programs say about themselves; for finding faults, it slows them down
    #[arg(long)]
    kernel_log: bool,
    /// Size of the buffer for kernel events in bytes, a power of two [default: 8388608, or as configured]
    #[arg(long, value_name = "N")]
    ring_bytes: Option<RingBytes>,
    /// Seconds between two status records [default: 10, or as configured]
    #[arg(long, value_name = "SECONDS")]
    status_interval: Option<StatusInterval>,
    /// Keep no records on disk
    #[arg(long, conflicts_with = "log_dir")]
    no_log: bool,
    /// Folder of the flow log [default: `log` in the state folder, or as configured]
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

/// Arguments of `record`.
#[derive(Debug, Args)]
struct EventArgs {
    /// File to write, which must not exist
    file: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

/// Where the sensor keeps what outlives it.
#[derive(Debug, Args)]
struct StateArgs {
    /// Folder of the fleet key; created on first use
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

impl RunArgs {
    /// Puts what was given here in place of what the file says.
    fn override_in(&self, config: &mut Config) {
        config.output.format = self.output.unwrap_or(config.output.format);
        config.output.status_interval_s = self.status_interval.unwrap_or(config.output.status_interval_s);
        config.kernel.ring_bytes = self.ring_bytes.unwrap_or(config.kernel.ring_bytes);
        config.kernel.log |= self.kernel_log;
        config.log.enabled &= !self.no_log;
        if let Some(dir) = &self.log_dir {
            config.log.dir = Some(dir.clone());
        }
    }
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
    let errors = Term::stderr(cli.color);
    report::exit_code(start_log(&cli, errors).and_then(|()| dispatch(cli)), errors)
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let term = Term::stdout(cli.color);
    let file = cli.config;
    match cli.command {
        Command::Run(args) => {
            let mut config = Config::load(file.as_deref())?;
            args.override_in(&mut config);
            run::run(&args.state.state_dir, args.policy.as_deref(), config, None, term)
        }
        Command::Doctor(args) => {
            let config = Config::load(file.as_deref())?;
            config.catalogue()?;
            doctor::run(&args, &config.identity, term)
        }
        Command::Fingerprint(args) => fingerprint::run(&args, &Config::load(file.as_deref())?),
        Command::Config(args) => config::run(&args),
        Command::Completions(args) => Ok(completions::completions(&args, Cli::command())),
        Command::Man(args) => completions::man(&args, Cli::command()),
        Command::Export(args) => export::run(args, &Config::load(file.as_deref())?),
        Command::Record(args) => {
            let mut config = Config::load(file.as_deref())?;
            args.run.override_in(&mut config);
            run::run(&args.run.state.state_dir, args.run.policy.as_deref(), config, Some(args.file), term)
        }
        Command::Replay(args) => replay::run(args, &Config::load(file.as_deref())?, term),
        Command::Timeline(args) => timeline::run(args, &Config::load(file.as_deref())?, term),
        Command::Observe(args) => observe::run(args, &Config::load(file.as_deref())?, term),
        Command::Keys(args) => keys::run(&args, &Config::load(file.as_deref())?, term),
        Command::Cost(args) => cost::run(&args, &Config::load(file.as_deref())?, term),
        Command::Sessions(args) => sessions::run(&args, &Config::load(file.as_deref())?, term),
        Command::Coverage(args) => coverage::run(&args, &Config::load(file.as_deref())?, term),
        Command::Log(args) => log::run(&args, &Config::load(file.as_deref())?),
        Command::Findings(args) => findings::run(&args, &Config::load(file.as_deref())?, term),
        Command::Policy(args) => policy::run(&args, &Config::load(file.as_deref())?),
        Command::Review(args) => review::run(&args, &Config::load(file.as_deref())?, term),
        Command::RevokePlan(args) => revoke_plan::run(&args, &Config::load(file.as_deref())?, term),
        Command::Reconcile(args) => reconcile::run(&args, &Config::load(file.as_deref())?, term),
    }
}

/// Logs go to standard error, with those of the kernel programs (by way of `log`).
fn start_log(cli: &Cli, term: Term) -> anyhow::Result<()> {
    // What `doctor` finds stands in its table.
    let quiet = cli.quiet || matches!(cli.command, Command::Doctor(_));
    let level = match (quiet, cli.verbose) {
        (true, 0) => "error",
        (_, 0) => "warn,sensor_user=info,keywitness_ebpf=debug",
        (_, 1) => "info,sensor_user=debug,attribution=debug,keywitness_ebpf=debug",
        _ => "debug,sensor_user=trace,attribution=trace,keywitness_ebpf=trace",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(set) if !set.is_empty() => EnvFilter::try_new(&set).map_err(|error| {
            report::Refused::new(format!("RUST_LOG: {error}"), "unset it, or set it to info, debug or trace")
        })?,
        _ => EnvFilter::new(level),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(term.color)
        .try_init()
        .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    fn merged(line: &str, file: &str) -> Config {
        let Command::Run(args) = parse(line).unwrap().command else { panic!("{line} is no run") };
        let mut config = Config::parse(std::path::Path::new("x"), file).unwrap();
        args.override_in(&mut config);
        config
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_win_over_the_file_and_the_file_over_defaults() {
        let config = merged("keywitness run", "");
        assert_eq!(config, Config::parse(std::path::Path::new("x"), "").unwrap());
        let file =
            "[output]\nformat = 'json'\nstatus_interval_s = 60\n[kernel]\nring_bytes = 65536\nlog = true";
        let config = merged("keywitness run", file);
        assert_eq!((config.output.format, config.kernel.log), (Format::Json, true));
        let config = merged("keywitness run -o compact --ring-bytes 131072 --status-interval 5", file);
        assert_eq!(config.output.format, Format::Compact);
        assert_eq!((config.kernel.ring_bytes.get(), config.kernel.log), (131_072, true));
        assert_eq!(config.output.status_interval_s.get().as_secs(), 5);
        assert!(merged("keywitness run --kernel-log", "").kernel.log);
    }

    #[test]
    fn verbs_that_sum_up_go_on_after_a_bad_line() {
        let folder = tempfile::tempdir().unwrap();
        let (records, config) = (folder.path().join("records"), folder.path().join("config"));
        let good = include_str!("../../../tests/fixtures/records.jsonl");
        std::fs::write(&records, format!("{{\"kind\":\n{good}")).unwrap();
        std::fs::write(&config, "").unwrap();
        for verb in ["keys", "cost", "sessions", "coverage", "findings"] {
            let line = format!(
                "keywitness {verb} --config {} --input-file {} -o json",
                config.display(),
                records.display()
            );
            dispatch(parse(&line).unwrap()).unwrap_or_else(|error| panic!("{verb}: {error:#}"));
        }
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in [
            "keywitness --color never --config /x doctor --json",
            "keywitness doctor --json --config /x --color never",
        ] {
            let cli = parse(line).unwrap();
            assert_eq!((cli.color, cli.config), (ColorChoice::Never, Some(PathBuf::from("/x"))));
        }
        let Command::Fingerprint(args) = parse("keywitness fingerprint").unwrap().command else { panic!() };
        assert_eq!(args.state.state_dir, PathBuf::from(STATE_DIR));
    }

    #[test]
    fn wrong_usage_is_refused_with_code_2() {
        for line in [
            "keywitness",
            "keywitness walk",
            "keywitness run --ring-bytes 1000",
            "keywitness run --ring-bytes -1",
            "keywitness run --status-interval 0",
            "keywitness run -o table",
            "keywitness run -v -q",
            "keywitness fingerprint sk-on-the-command-line",
            "keywitness config check",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
        for line in ["keywitness --help", "keywitness --version", "keywitness run --help"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn the_help_names_the_default_file() {
        assert!(Cli::command().render_long_help().to_string().contains(crate::config::DEFAULT_PATH));
    }
}
