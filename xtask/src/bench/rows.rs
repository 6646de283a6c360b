//! Raw rows as JSON lines, tables for people, and scratch folders.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::procfs;
use crate::shell::text;
use crate::workspace;

/// The file of one measurement's raw rows; the first row describes the machine.
pub(super) struct Rows {
    file: File,
    path: PathBuf,
}

/// A folder that is removed when dropped.
pub(super) struct Scratch(PathBuf);

impl Rows {
    /// Creates `<folder>/<name>-<unix seconds>.jsonl`.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let path = folder.join(format!("{name}-{now}.jsonl"));
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut rows = Self { file, path };
        rows.add(&machine(name, now))?;
        Ok(rows)
    }

    /// Adds a row; it is in the file when this returns.
    pub(super) fn add(&mut self, row: &Value) -> Result<()> {
        writeln!(self.file, "{row}").with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Scratch {
    /// A new empty folder.
    pub(super) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("xtask-bench-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind lies in the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a table: the first column to the left, the others to the right.
pub(super) fn table(title: &str, header: &[&str], lines: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&cell| cell.into()).collect();
    let width = |column: usize| {
        lines
            .iter()
            .chain([&header])
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = format!("\n{title}\n");
    for line in [&header].into_iter().chain(lines) {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            out += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        out.push('\n');
    }
    out
}

/// A share as a signed percentage: 1.031 is `+3.1 %`.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

fn machine(name: &str, now: u64) -> Value {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        text.lines().find_map(|line| {
            line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model.to_owned())
        })
    });
    let commit = text(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(workspace::root())).ok();
    json!({
        "row": "machine",
        "bench": name,
        "unix_seconds": now,
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": cpu,
        "cpus": std::thread::available_parallelism().map(usize::from).ok(),
        "load": read("/proc/loadavg"),
        "steal_ticks": procfs::steal_ticks(),
        "commit": commit.as_deref().map(str::trim),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_one_json_object_per_line_after_the_machine() {
        let folder = Scratch::new().unwrap();
        let mut rows = Rows::create(folder.path(), "tls").unwrap();
        rows.add(&json!({ "a": 1 })).unwrap();
        let text = fs::read_to_string(rows.path()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["row"], "machine");
        assert_eq!(lines[1]["a"], 1);
    }

    #[test]
    fn scratch_folder_is_removed() {
        let folder = Scratch::new().unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn columns_of_a_table_line_up() {
        let text = table(
            "t",
            &["name", "us"],
            &[vec!["a".into(), "1.25".into()], vec!["longer".into(), "10".into()]],
        );
        assert_eq!(text, "\nt\nname      us\na       1.25\nlonger    10\n");
    }

    #[test]
    fn ratio_is_shown_as_what_is_added() {
        assert_eq!(percent(1.031), "+3.1 %");
        assert_eq!(percent(0.995), "-0.5 %");
    }
}
