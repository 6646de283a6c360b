//! Open tax: CPU per open and close of a file that nobody watches, with and without observers.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

use super::Bench;
use super::acts::Acts;
use super::observer::Variant;
use super::rows::{Rows, Scratch};
use crate::shell::find;

/// Opens before each measurement, not counted.
const PRELUDE: u32 = 50_000;
/// The peer from libbpf-tools: it says what each open was.
const PEER: &str = "opensnoop";

/// Runs the measurement and prints its table.
pub(super) fn measure(bench: &Bench<'_>, rows: &mut Rows) -> Result<()> {
    let peer = find(PEER)
        .map(|path| Variant { name: PEER.into(), command: Some(format!("exec {}", path.display())) });
    let variants = bench.variants(peer.into_iter().collect())?;
    let folder = Scratch::new()?;
    let file = folder.path().join("unrelated");
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    let acts = Acts {
        name: "opens",
        act: "open",
        acts: "opens",
        meaning: "open and close of an unrelated file",
        prelude: PRELUDE,
        count: bench.args.opens,
    };
    acts.measure(bench, rows, &variants, folder.path(), |count| open(&file, count))
}

fn open(path: &Path, count: u32) -> Result<()> {
    for _ in 0..count {
        drop(File::open(path).with_context(|| format!("cannot open {}", path.display()))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = open(Path::new("/no/such/file"), 1).unwrap_err();
        assert!(error.to_string().contains("/no/such/file"));
    }
}
