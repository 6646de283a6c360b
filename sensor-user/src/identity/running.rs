//! The processes that ran before the sensor, from /proc.

use attribution::event::{Event, ProcessImage, ProcessKey};
use procfs::process::Process;
use zeroize::Zeroizing;

use super::executable::file_id;

/// Most arguments kept of one process.
const MAX_ARGS: usize = 64;

/// One event for each process, parents before children as far as pids tell. Processes that end while
/// they are read are left out: their end is no loss, nothing they did was seen.
pub fn scan() -> Vec<Event> {
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    let Ok(processes) = procfs::process::all_processes() else { return Vec::new() };
    let mut events: Vec<Event> = processes.flatten().filter_map(|process| one(&process, tick_ns)).collect();
    events.sort_by_key(|event| match event {
        Event::Running { start_ns, pid, .. } => (*start_ns, *pid),
        _ => (0, 0),
    });
    events
}

fn one(process: &Process, tick_ns: u64) -> Option<Event> {
    let stat = process.stat().ok()?;
    let link = std::fs::File::open(format!("/proc/{}/exe", stat.pid)).ok();
    let file = link.as_ref().and_then(|file| file_id(file).ok()).unwrap_or_default();
    let exe = process.exe().map(|path| path.display().to_string()).unwrap_or_default();
    Some(Event::Running {
        pid: u32::try_from(stat.pid).ok()?,
        start_ns: stat.starttime.saturating_mul(tick_ns),
        tick_ns,
        parent: u32::try_from(stat.ppid).unwrap_or(0),
        uid: process.uid().ok()?,
        image: ProcessImage { exe, file, comm: stat.comm, args: arguments(stat.pid) },
        cgroup: cgroup(process),
    })
}

/// Arguments of a process. They may hold a key, so the bytes read are wiped.
fn arguments(pid: i32) -> Vec<String> {
    let Ok(bytes) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return Vec::new() };
    let bytes = Zeroizing::new(bytes);
    bytes
        .strip_suffix(b"\0")
        .unwrap_or(&bytes)
        .split(|byte| *byte == 0)
        .take(MAX_ARGS)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

/// Path in the unified hierarchy, or in systemd's own one where the unified path says nothing.
fn cgroup(process: &Process) -> String {
    let Ok(cgroups) = process.cgroups() else { return String::new() };
    let of = |wanted: &dyn Fn(&procfs::ProcessCGroup) -> bool| {
        cgroups.0.iter().find(|entry| wanted(entry)).map(|entry| entry.pathname.clone())
    };
    let unified = of(&|entry| entry.hierarchy == 0).unwrap_or_default();
    if unified.len() > 1 {
        return unified;
    }
    of(&|entry| entry.controllers.iter().any(|name| name == "name=systemd"))
        .filter(|path| path.len() > 1)
        .unwrap_or(unified)
}

/// The /proc entry of this very process: one that is open stays that of its process.
pub(super) fn open(process: ProcessKey) -> Option<Process> {
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    let found = Process::new(i32::try_from(process.pid).ok()?).ok()?;
    (found.stat().ok()?.starttime == process.start_ns / tick_ns).then_some(found)
}

/// Whether a process is still there.
pub(super) fn is_process(process: ProcessKey) -> bool {
    open(process).is_some()
}
