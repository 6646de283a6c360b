//! `keywitness log`, and the log of `run`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use attribution::credential::FleetKey;
use clap::{Args, Subcommand};
use flow_log::{
    Key, Lines, Reader,
    storage::OpenError,
    verify::{Report, verify},
    writer,
};

use super::{StateArgs, report::Refused};
use crate::{
    config::{self, Config},
    fleet_key,
    sensor::Past,
    sink::{self, Sink},
};

/// What the key of the hashes is made for.
const PURPOSE: &str = "flow log";
/// Records of earlier runs from which the sensor's state is restored.
const RESTORED: usize = 50_000;
/// Gaps that are listed.
const MAX_LISTED: usize = 20;

/// Arguments of `log`.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check every byte and every link; exit code 1 and the first break when something is wrong
    Verify(WhereArgs),
    /// Show segments, records, times, sizes and gaps
    Info(WhereArgs),
}

#[derive(Debug, Args)]
struct WhereArgs {
    /// Folder of the log [default: `log` in the state folder, or as configured]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

/// The log before `next`, and what it tells of earlier runs.
pub(super) fn open(
    state_dir: &Path,
    config: &config::Log,
    fleet_key: &FleetKey,
    boot_id: &str,
    next: Box<dyn Sink + Send>,
) -> anyhow::Result<(Box<dyn Sink + Send>, Past)> {
    if !config.enabled {
        return Ok((next, Past::default()));
    }
    const NS_PER_MS: u64 = 1_000_000;
    const NS_PER_S: u64 = 1_000_000_000;
    let folder = config.folder(state_dir);
    let options = writer::Options {
        commit_ns: config.commit_ms.get() * NS_PER_MS,
        commit_records: usize::try_from(config.commit_records.get())?,
        segment_bytes: config.segment_bytes.get(),
        segment_ns: config.segment_age_s.get() * NS_PER_S,
        retain_bytes: config.retain_bytes.get(),
        retain_ns: config.retain_age_s.get() * NS_PER_S,
        repack: true,
        key: config.hmac.then(|| Key::new(&fleet_key.derive(PURPOSE))),
    };
    let (log, recovery) = sink::log::open(&folder, options, boot_id, next).map_err(refusal)?;
    if recovery.truncated > 0 {
        tracing::warn!(
            bytes = recovery.truncated,
            "an unfinished write at the end of the flow log was cut off"
        );
    }
    for name in &recovery.quarantined {
        tracing::warn!(file = %folder.join(name).display(), "a damaged file of the flow log was set aside");
    }
    let lines = Reader::open(&folder)?.last(RESTORED)?;
    Ok((Box::new(log), Past { next_seq: recovery.next_seq, records: Box::new(restored(lines)) }))
}

/// Records that can be read; damage is told by recovery and by `log verify`.
fn restored(lines: Lines) -> impl Iterator<Item = proto::v1::Record> {
    lines.filter_map(|line| line.ok()?.record().ok())
}

fn refusal(error: OpenError) -> Refused {
    let text = error.to_string();
    let message = text.rsplit_once("; ").map_or(text.clone(), |(message, _)| message.to_owned());
    match error {
        OpenError::Locked { .. } => Refused::new(message, "stop it, or name another folder with --log-dir"),
        OpenError::Io { .. } => {
            Refused::new(message, "name another folder with --log-dir, or keep no records with --no-log")
        }
    }
}

pub(super) fn run(args: &LogArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let (Verb::Verify(at) | Verb::Info(at)) = &args.verb;
    let folder = at.dir.clone().unwrap_or_else(|| config.log.folder(&at.state.state_dir));
    if !folder.is_dir() {
        let message = format!("there is no log in {}", folder.display());
        return Err(
            Refused::new(message, "name its folder with --dir, or start `keywitness run` first").into()
        );
    }
    let key = match at.state.state_dir.join(fleet_key::FILE).is_file() {
        true => Some(Key::new(&fleet_key::open(&at.state.state_dir)?.key.derive(PURPOSE))),
        false => None,
    };
    let report = verify(&folder, key.as_ref())?;
    let mut out = std::io::stdout().lock();
    let whole = report.broken == 0;
    match &args.verb {
        Verb::Verify(_) => out.write_all(verdict(&report).as_bytes())?,
        Verb::Info(_) => out.write_all(info(&folder, &report).as_bytes())?,
    }
    out.flush()?;
    let failed = matches!(args.verb, Verb::Verify(_)) && !whole;
    Ok(ExitCode::from(u8::from(failed)))
}

/// What `verify` says.
fn verdict(report: &Report) -> String {
    let mut text = match report.breaks.first() {
        Some(first) => format!(
            "broken: {}, offset {}: {}\n{} breaks in all\n",
            first.path.display(),
            first.offset,
            first.what,
            report.broken
        ),
        None => format!("whole: {} records in {} segments\n", report.records, report.segments),
    };
    if report.unchecked > 0 {
        let line = "frames have keyed hashes that were not checked: name the folder of the fleet key with --state-dir";
        text += &format!("{} {line}\n", report.unchecked);
    }
    if report.unkeyed > 0 {
        text += "hashes without a key show damage and careless changes; whoever can write all files can renew them\n";
    }
    if let Some(hash) = report.last_hash {
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("last hash: {hash}\n");
    }
    text
}

/// What `info` says.
fn info(folder: &Path, report: &Report) -> String {
    let time = |time: u64| proto::time::format(time).unwrap_or_default();
    let (from, to) = report.times.map_or_else(Default::default, |(from, to)| (time(from), time(to)));
    let each = report.bytes.checked_div(report.records).unwrap_or_default();
    let mut text = format!(
        "folder     {}\nsegments   {}\nframes     {}\nrecords    {}\nbytes      {} ({each} a record, {} uncompressed)\n\
         from       {from}\nto         {to}\ndamage     {}\ngaps       {}\n",
        folder.display(),
        report.segments,
        report.frames,
        report.records,
        report.bytes,
        report.raw_bytes,
        report.broken,
        report.gaps.len(),
    );
    for gap in report.gaps.iter().take(MAX_LISTED) {
        text += &format!("           boot {}: {} to {}\n", gap.boot, gap.from, gap.to);
    }
    text
}
