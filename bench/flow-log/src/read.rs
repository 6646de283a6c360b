//! Reading the flow log.

use std::{path::Path, time::Instant};

use anyhow::{Result, ensure};
use flow_log::{
    Range, Reader,
    writer::{Now, Options},
};
use proto::v1::Record;
use serde_json::json;

use crate::{append, row};

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

/// The last 20 records of a log of `size` bytes.
pub(crate) fn last(folder: &Path, size: u64, rounds: u32) -> Result<()> {
    let options = Options { repack: false, retain_bytes: u64::MAX, ..Options::default() };
    let mut writer = append::open(folder, options)?;
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut seq, mut written) = (0, 0);
    while written < size {
        // Hexadecimal noise: half its length on disk.
        let mut line = format!("{{\"time\":\"2026-11-22T05:34:00.{:09}Z\",\"noise\":\"", seq % 1_000_000_000);
        for _ in 0..500 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            line += &format!("{noise:016x}");
        }
        line += "\"}\n";
        seq += 1;
        written += 4000;
        let now = Now { steady_ns: seq, calendar_ns: seq };
        writer.push(line.as_bytes(), seq, seq, now);
        writer.tick(now);
    }
    ensure!(writer.close(Now { steady_ns: seq, calendar_ns: seq }), "the log could not be written");
    let bytes = append::size(folder)?;
    for round in 0..rounds {
        let begun = Instant::now();
        let found = Reader::open(folder)?.last(20)?.count();
        let ms = begun.elapsed().as_secs_f64() * 1000.0;
        ensure!(found == 20, "{found} records");
        row(&json!({ "row": "last", "round": round, "ms": ms, "log_bytes": bytes }));
    }
    Ok(())
}
