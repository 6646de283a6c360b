//! What a record says about who acted: principal, process tree, program.

use std::borrow::Cow;

use proto::v1::{Process, Workload};

use crate::identity::cgroup::{Rank, Scope};

/// Ids that are the system's, not an agent's.
const ROOT_PIDS: [u32; 2] = [0, 1];
/// Programs that start and hold others: that two trees hang below one of them relates nothing.
const SUPERVISORS: [&str; 14] = [
    "conmon",
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v2",
    "cron",
    "crond",
    "dockerd",
    "init",
    "kubelet",
    "runc",
    "systemd",
    "systemd-executor",
    "supervisord",
    "tini",
];
/// Programs that people start others with.
const SHELLS: [&str; 22] = [
    "ash",
    "bash",
    "csh",
    "dash",
    "doas",
    "env",
    "fish",
    "gnome-terminal-server",
    "kitty",
    "konsole",
    "ksh",
    "login",
    "screen",
    "sh",
    "sshd",
    "sshd-session",
    "su",
    "sudo",
    "tcsh",
    "tmux",
    "xterm",
    "zsh",
];

/// Who acted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Who<'a> {
    /// Key of the principal: the stable id of a workload, `user://host/uid`, or `cgroup://host/path`.
    pub(super) place: Cow<'a, str>,
    /// Executable of the oldest process of its tree.
    pub(super) program: &'a str,
    /// That process's generation: its id and start.
    pub(super) root: (u32, u64),
    /// The process itself.
    pub(super) process: &'a Process,
}

/// Who acted by a record of `host`; nothing when the record does not know.
pub(super) fn who<'a>(
    host: &str,
    process: Option<&'a Process>,
    workload: Option<&'a Workload>,
) -> Option<Who<'a>> {
    let process = process?;
    let named = workload.filter(|workload| !workload.id.is_empty() && workload.kind != "user");
    // A finding never rests on a missing fact: without image and workload nobody is known.
    if named.is_none() && !process.unknown_reason.is_empty() {
        return None;
    }
    let (place, users) = match named {
        Some(workload) => (Cow::Borrowed(workload.id.as_str()), false),
        None => own_place(host, process, workload)?,
    };
    let (program, root) = root(process, users);
    Some(Who { place, program, root, process })
}

/// The place of a process that belongs to no workload, and whether it is a person's login.
fn own_place<'a>(
    host: &str,
    process: &Process,
    workload: Option<&'a Workload>,
) -> Option<(Cow<'a, str>, bool)> {
    if process.cgroup.is_empty() {
        return process.cgroup_id.map(|id| (format!("cgroup://{host}/#{id}").into(), false));
    }
    let path = process.cgroup.as_str();
    let scope = Scope::of(path);
    let nobodys = scope.rank() == Rank::User && scope.user.is_none();
    if path != "/" && !path.ends_with("/init.scope") && nobodys && !is_login(path) {
        return Some((format!("cgroup://{host}{path}").into(), false));
    }
    let id = workload.map(|workload| workload.id.as_str()).filter(|id| id.starts_with("user://"));
    match id.and_then(|id| id.match_indices('/').nth(3).and_then(|(at, _)| id.get(..at))) {
        Some(user) => Some((user.into(), true)),
        None => process.uid.map(|uid| (format!("user://{host}/{uid}").into(), true)),
    }
}

fn is_login(path: &str) -> bool {
    path.starts_with("/user.slice/")
}

/// The oldest process of the tree that means something, and its program. What started a service, and what a
/// person starts everything with, does not.
fn root(process: &Process, users: bool) -> (&str, (u32, u64)) {
    let mut root = (process.exe.as_str(), process.pid, process.start_time);
    for ancestor in &process.ancestors {
        let name = ancestor.exe.rsplit('/').next().unwrap_or_default();
        let passed = ROOT_PIDS.contains(&ancestor.pid)
            || SUPERVISORS.contains(&name)
            || (users && SHELLS.contains(&name));
        if !passed {
            let exe = if ancestor.exe.is_empty() { root.0 } else { ancestor.exe.as_str() };
            root = (exe, ancestor.pid, ancestor.start_time);
        }
    }
    (root.0, (root.1, root.2))
}

/// Nanodollars of a decimal amount of dollars; nothing for what is no amount.
pub(super) fn nanos(amount: &str) -> Option<u64> {
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let mut nanos = whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    let mut unit = 100_000_000;
    for digit in part.bytes().take(9) {
        nanos = nanos.checked_add(u64::from(digit - b'0') * unit)?;
        unit /= 10;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use proto::v1::Ancestor;

    use super::*;

    fn process(cgroup: &str, exe: &str, parents: &[(u32, &str)]) -> Process {
        let ancestors = parents
            .iter()
            .map(|(pid, exe)| Ancestor { pid: *pid, start_time: 1, exe: (*exe).into() })
            .collect();
        Process {
            pid: 100,
            start_time: 1,
            exe: exe.into(),
            uid: Some(1000),
            cgroup: cgroup.into(),
            ancestors,
            ..Process::default()
        }
    }

    fn workload(id: &str) -> Workload {
        let kind = id.split(':').next().unwrap_or_default();
        Workload { id: id.into(), kind: kind.into(), ..Workload::default() }
    }

    #[test]
    fn places_come_from_the_workload_the_login_or_the_cgroup() {
        let login = "/user.slice/user-1000.slice/session-3.scope";
        for (cgroup, id, place) in [
            ("/x", "systemd://h/a.service", "systemd://h/a.service"),
            (login, "user://h/1000/usr/bin/claude", "user://h/1000"),
            (login, "", "user://h/1000"),
            ("/", "user://h/1000/usr/bin/claude", "user://h/1000"),
            ("/my-jobs/one", "user://h/0/usr/bin/curl", "cgroup://h/my-jobs/one"),
        ] {
            let (process, workload) = (process(cgroup, "/usr/bin/claude", &[]), workload(id));
            let who = who("h", Some(&process), Some(&workload)).unwrap();
            assert_eq!(who.place, place, "{cgroup} {id}");
        }
    }

    #[test]
    fn without_image_only_a_workload_is_known() {
        let mut process = process("/x", "", &[]);
        process.unknown_reason = "not seen".into();
        assert_eq!(who("h", Some(&process), Some(&workload("user://h/0/x"))), None);
        assert!(who("h", Some(&process), Some(&workload("systemd://h/a.service"))).is_some());
        assert_eq!(who("h", None, Some(&workload("systemd://h/a.service"))), None);
    }

    #[test]
    fn the_root_of_a_tree_is_neither_shell_nor_supervisor() {
        let login = "/user.slice/user-1000.slice/session-3.scope";
        let chain =
            [(90, "/bin/sh"), (80, "/usr/bin/claude"), (70, "/bin/bash"), (60, "/usr/sbin/sshd"), (1, "")];
        let by = |process: &Process| {
            who("h", Some(process), None).map(|who| (who.program.to_owned(), who.root)).unwrap()
        };
        let curl = process(login, "/usr/bin/curl", &chain);
        assert_eq!(by(&curl), ("/usr/bin/claude".into(), (80, 1)));
        // In a service the shell is the service.
        let curl =
            process("/jobs", "/usr/bin/curl", &[(90, "/bin/sh"), (50, "/usr/bin/containerd-shim"), (1, "")]);
        assert_eq!(by(&curl), ("/bin/sh".into(), (90, 1)));
    }

    #[test]
    fn amounts_are_exact_and_bad_ones_are_nothing() {
        assert_eq!(nanos("12.345678901"), Some(12_345_678_901));
        assert_eq!(nanos("0.0000000019"), Some(1));
        assert_eq!(nanos("3"), Some(3_000_000_000));
        for bad in ["", ".", "-1", "1e3", "99999999999999999999", "1.x", "١"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }
}
