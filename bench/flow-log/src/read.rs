//! Reading the flow log.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use flow_log::{
    Range, Reader,
    writer::{Now, Options},
};
use proto::v1::Record;
use serde_json::json;

use crate::{append, row, size::size};

/// Records of a large log that differ.
const DIFFERENT: u64 = 100_000;

/// Records a second, by time only and fully parsed.
pub(crate) fn scan(folder: &Path, rounds: u32, records: usize) -> Result<()> {
    let reader = Reader::open(folder)?;
    for round in 0..rounds {
        for (what, since) in [("all", None), ("filtered", Some(crate::records::FIRST_TIME + 1))] {
            let begun = Instant::now();
            let mut bytes = 0;
            let mut count = 0;
            for line in reader.lines(Range { since, until: since.map(|_| u64::MAX - 1) })? {
                bytes += line?.bytes().len();
                count += 1;
            }
            let seconds = begun.elapsed().as_secs_f64();
            ensure!(count + 1 >= records, "{count} of {records} records");
            row(&json!({
                "row": "scan", "round": round, "what": what, "per_second": count as f64 / seconds, "bytes": bytes,
            }));
        }
        // Every tenth record by its time: what lies outside is passed over.
        let first = crate::records::FIRST_TIME;
        let step = records as u64 * 20_000_000 / 10;
        let begun = Instant::now();
        let range = Range { since: Some(first + 4 * step), until: Some(first + 5 * step) };
        let found = reader.lines(range)?.count();
        let seconds = begun.elapsed().as_secs_f64();
        row(&json!({
            "row": "scan", "round": round, "what": "range", "found": found, "per_second": records as f64 / seconds,
        }));
        // As a search does, which keeps few records; and as a replay does, which takes each.
        for (what, kept) in [("in place", false), ("kept", true)] {
            let begun = Instant::now();
            let mut tokens = 0;
            let mut record = Record::default();
            for line in reader.lines(Range::default())? {
                line?.read(&mut record)?;
                tokens += record.tokens().and_then(|tokens| tokens.input).unwrap_or_default();
                if kept {
                    drop(std::hint::black_box(std::mem::take(&mut record)));
                }
            }
            let seconds = begun.elapsed().as_secs_f64();
            row(&json!({
                "row": "parse", "round": round, "what": what, "per_second": records as f64 / seconds,
                "tokens": tokens,
            }));
        }
    }
    Ok(())
}

/// Writes a log of at least `bytes`, as it is before segments are rewritten: the same calls again and again.
pub(crate) fn fill(folder: &Path, bytes: u64) -> Result<()> {
    let options = Options { repack: false, retain_bytes: u64::MAX, ..Options::default() };
    let (segment_bytes, lines) = (options.segment_bytes, crate::records::lines(DIFFERENT, true));
    let mut writer = append::open(folder, options)?;
    let mut seq = 0;
    for line in lines.iter().cycle() {
        // Segments are numbered from one.
        if writer.position().segment > bytes.div_ceil(segment_bytes) {
            break;
        }
        seq += 1;
        let now = Now { steady_ns: seq, calendar_ns: seq };
        writer.push(line, seq, crate::records::FIRST_TIME + seq, now);
        writer.tick(now);
    }
    ensure!(writer.close(Now { steady_ns: seq, calendar_ns: seq }), "the log could not be written");
    Ok(())
}

/// The last 20 records of a log.
pub(crate) fn last(folder: &Path, rounds: u32) -> Result<()> {
    let bytes = size(folder)?;
    for round in 0..rounds {
        let begun = Instant::now();
        let found = Reader::open(folder)?.last(20)?.count();
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        ensure!(found == 20, "{found} records");
        row(&json!({ "row": "last", "round": round, "ms": ms, "log_bytes": bytes }));
    }
    Ok(())
}

/// The same as people ask for it: the whole life of a process, with and without a filter.
pub(crate) fn observe(program: &Path, folder: &Path, rounds: u32) -> Result<()> {
    for round in 0..rounds {
        for (what, filter) in
            [("all", &[][..]), ("filtered", &["--provider", "anthropic", "--kind", "model_call"])]
        {
            let mut command = Command::new(program);
            command.args(["observe", "--last", "20", "-o", "json", "--log-dir"]).arg(folder).args(filter);
            let begun = Instant::now();
            let output = command.output().with_context(|| format!("cannot start {}", program.display()))?;
            let ms = begun.elapsed().as_secs_f64() * 1000.0;
            let found = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            ensure!(found == 20, "{found} records; {}", String::from_utf8_lossy(&output.stderr));
            row(&json!({ "row": "observe", "round": round, "what": what, "ms": ms }));
        }
    }
    Ok(())
}
