//! What the hooks need from the host.

use nix::unistd::geteuid;
use serde::Serialize;

use crate::bpf::{LoadError, cgroup_root, offsets};

/// Capabilities the sensor uses, by number (linux/capability.h).
const CAPABILITIES: [(u32, &str); 6] = [
    (2, "CAP_DAC_READ_SEARCH"),
    (12, "CAP_NET_ADMIN"),
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];
/// Stands in for those of [`COVERED`], which are parts of it (bpf_capable() and perfmon_capable() in the kernel).
const SYS_ADMIN: u32 = 21;
const COVERED: [u32; 3] = [12, 38, 39];

/// One thing the hooks need.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What is looked at.
    pub(super) name: &'static str,
    /// It is as needed.
    pub(super) ok: bool,
    /// What was found, or what to do.
    pub(super) detail: String,
}

impl Check {
    fn of<T, E: ToString>(name: &'static str, found: Result<T, E>, detail: impl FnOnce(T) -> String) -> Self {
        match found {
            Ok(found) => Self { name, ok: true, detail: detail(found) },
            Err(error) => Self { name, ok: false, detail: error.to_string() },
        }
    }
}

/// All checks; `trial` tells whether this build has kernel programs.
pub(super) fn all<T>(trial: &Result<T, LoadError>) -> Vec<Check> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
    let object = match trial {
        Err(error @ LoadError::NoObject) => Err(error.to_string()),
        _ => Ok(()),
    };
    let root = if geteuid().is_root() { Ok(()) } else { Err(LoadError::NotPermitted.to_string()) };
    vec![
        Check::of("kernel", release, |text| text),
        Check::of("programs", object, |()| "embedded in this build".to_owned()),
        Check::of("root", root, |()| "effective user is root".to_owned()),
        Check::of("capabilities", capabilities(), |()| "enough for every hook".to_owned()),
        Check::of("btf", offsets::of_kernel(), |found| {
            format!("all {} structure members found", found.len())
        }),
        Check::of("cgroup2", cgroup_root(), |path| path.display().to_string()),
    ]
}

fn capabilities() -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
    match missing(&status).as_deref() {
        None => Err("/proc/self/status has no CapEff".to_owned()),
        Some([]) => Ok(()),
        Some(names) => {
            Err(format!("missing {}; run with sudo, or add them to the unit or container", names.join(" ")))
        }
    }
}

/// Names of what the effective set lacks (proc_pid_status(5), CapEff).
fn missing(status: &str) -> Option<Vec<&'static str>> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |bit: u32| held >> bit & 1 == 1;
    let stands_in = |bit: u32| COVERED.contains(&bit) && has(SYS_ADMIN);
    let lacking = CAPABILITIES.iter().filter(|(bit, _)| !has(*bit) && !stands_in(*bit));
    Some(lacking.map(|(_, name)| *name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(vec![]));
        assert_eq!(missing("CapEff:\t0000007fffdfffff\n"), Some(vec!["CAP_SYS_ADMIN", "CAP_BPF"]));
        let least = "CapEff:\t0000000000280004\n";
        assert_eq!(missing(least), Some(vec![]), "CAP_SYS_ADMIN contains what else is needed");
        assert_eq!(missing("CapEff:\t0000000000000000\n").unwrap().len(), CAPABILITIES.len());
        assert_eq!(missing("Name:\tx\n"), None);
    }

    #[test]
    fn a_build_without_programs_is_told() {
        let find = |trial: Result<(), LoadError>| {
            all(&trial).into_iter().find(|check| check.name == "programs").unwrap()
        };
        assert!(find(Ok(())).ok);
        let check = find(Err(LoadError::NoObject));
        assert!(!check.ok && check.detail.contains("xtask build"), "{}", check.detail);
    }
}
