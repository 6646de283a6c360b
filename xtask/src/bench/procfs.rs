//! Figures of processes and of the machine, from /proc.

use std::fs;

use anyhow::{Context, Result};

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident set.
    pub(super) rss: u64,
    /// Proportional set: shared pages divided by their users.
    pub(super) pss: u64,
}

/// CPU time of a process in nanoseconds: the sum over its threads that live.
pub(super) fn cpu_ns(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let tasks =
        fs::read_dir(&folder).with_context(|| format!("cannot read {folder}: the process has ended"))?;
    // A thread may end between the listing and the reading.
    let read = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
    Ok(tasks.flatten().filter_map(read).filter_map(|text| on_cpu(&text)).sum())
}

/// CPU time of the calling thread in nanoseconds.
pub(super) fn own_cpu_ns() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")
        .context("cannot read /proc/thread-self/schedstat")?;
    on_cpu(&text).context("/proc/thread-self/schedstat has an unexpected form")
}

/// The processes of a process group.
pub(super) fn group_members(group: u32) -> Result<Vec<u32>> {
    processes(|stat| stat.group == group)
}

/// The children of a process.
pub(super) fn children(parent: u32) -> Result<Vec<u32>> {
    processes(|stat| stat.parent == parent)
}

/// The memory of a process.
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    memory_of(&text).with_context(|| format!("{path} has an unexpected form"))
}

/// Time that the hypervisor took from this machine, in clock ticks since boot.
pub(super) fn steal_ticks() -> Option<u64> {
    steal_of(&fs::read_to_string("/proc/stat").ok()?)
}

struct Stat {
    parent: u32,
    group: u32,
}

fn processes(wanted: impl Fn(&Stat) -> bool) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if stat_of(&text).is_some_and(|stat| wanted(&stat)) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn stat_of(text: &str) -> Option<Stat> {
    // The name may hold spaces and brackets: the last bracket ends it.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace().skip(1);
    Some(Stat { parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

fn memory_of(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Memory { rss: field("Rss:")?, pss: field("Pss:")? })
}

fn steal_of(stat: &str) -> Option<u64> {
    stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_brackets_does_not_shift_the_fields() {
        let stat = stat_of("42 (a) b (c) S 7 42 42 0 -1\n").unwrap();
        assert_eq!((stat.parent, stat.group), (7, 42));
        assert!(stat_of("42 (a S 7").is_none());
    }

    #[test]
    fn own_cpu_time_grows_with_work() {
        let before = own_cpu_ns().unwrap();
        let mut sum = 0_u64;
        while own_cpu_ns().unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(own_cpu_ns().unwrap() > before);
    }

    #[test]
    fn cpu_time_is_the_first_field_of_schedstat() {
        assert_eq!(on_cpu("123456 789 10\n"), Some(123_456));
        assert_eq!(on_cpu(""), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "00400000-7fff [rollup]\nRss:   2048 kB\nPss:   1024 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(memory_of(text), Some(Memory { rss: 2048, pss: 1024 }));
        assert_eq!(memory_of("Rss: 1 kB\n"), None);
        assert!(memory(std::process::id()).unwrap().rss > 0);
    }

    #[test]
    fn steal_is_the_eighth_number() {
        assert_eq!(steal_of("cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1\n"), Some(88));
        assert_eq!(steal_of("intr 1"), None);
    }

    #[test]
    fn child_is_found_by_parent_and_by_group() {
        let group =
            crate::stop::Group::start("sleep", std::process::Command::new("sleep").arg("60")).unwrap();
        assert!(children(std::process::id()).unwrap().contains(&group.id()));
        assert_eq!(group_members(group.id()).unwrap(), [group.id()]);
    }
}
