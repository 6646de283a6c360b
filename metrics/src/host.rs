//! What the operating system says of this process and its files.

use std::path::Path;

use crate::{Page, table::Metric};

/// Most files of a folder that are looked at.
const MAX_FILES: usize = 100_000;

/// Resident memory and CPU time of this process; neither when /proc cannot be read.
pub fn process(page: &mut Page, memory: Metric<0>, cpu: Metric<0>) {
    if let Ok(stat) = procfs::process::Process::myself().and_then(|myself| myself.stat()) {
        page.add(memory, [], stat.rss.saturating_mul(procfs::page_size()) as f64);
        let ticks = stat.utime.saturating_add(stat.stime) as f64;
        page.add(cpu, [], ticks / procfs::ticks_per_second() as f64);
    }
}

/// Size of the files in `folder`, bytes, without folders in it. What cannot be looked at takes nothing.
pub fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().take(MAX_FILES);
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}
