//! Where cgroup hierarchies are mounted (proc_pid_mountinfo(5)) and which one says whose a process is
//! (cgroups(7), /proc/PID/cgroup). On hosts with cgroup v1 a container may stand in v1 hierarchies only.

use super::cgroup::{Rank, Scope};

/// v1 hierarchies in the order in which they are asked: systemd's own follows units, the others containers.
const ORDER: [&str; 8] = ["name=systemd", "memory", "pids", "cpu", "cpuacct", "devices", "freezer", "blkio"];

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Controllers, or `name=…`; empty for v2.
    pub controllers: Vec<String>,
    /// The cgroup that is mounted, as the reader's cgroup namespace names it.
    pub root: String,
    /// Where.
    pub point: String,
}

/// All mounted hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// cgroup v2.
    pub unified: Option<Mount>,
    /// cgroup v1.
    pub legacy: Vec<Mount>,
}

/// Which version of cgroups says whose a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Neither is mounted.
    None,
    /// v1 only.
    Legacy,
    /// Both: containers mostly stand in v1.
    Hybrid,
    /// v2 only.
    Unified,
}

/// One line of /proc/PID/cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Number of the hierarchy; 0 is v2.
    pub hierarchy: u32,
    /// Controllers, comma separated.
    pub controllers: &'a str,
    /// Path from the hierarchy's root, or from that of the reader's cgroup namespace.
    pub path: &'a str,
}

impl Hierarchies {
    /// Reads /proc/PID/mountinfo. Of several mounts of one hierarchy the one of its root counts, then the one
    /// with the shortest path.
    pub fn of(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for (mount, is_v2) in mountinfo.lines().filter_map(mount) {
            if is_v2 {
                if found.unified.as_ref().is_none_or(|known| mount.better(known)) {
                    found.unified = Some(mount);
                }
            } else if let Some(known) =
                found.legacy.iter_mut().find(|known| known.controllers == mount.controllers)
            {
                if mount.better(known) {
                    *known = mount;
                }
            } else {
                found.legacy.push(mount);
            }
        }
        found
    }

    /// Which version counts.
    pub fn mode(&self) -> Mode {
        match (self.unified.is_some(), self.legacy.is_empty()) {
            (false, true) => Mode::None,
            (false, false) => Mode::Legacy,
            (true, false) => Mode::Hybrid,
            (true, true) => Mode::Unified,
        }
    }

    /// The v1 membership in /proc/PID/cgroup that says most, and the folder of its cgroup.
    pub fn best<'a>(&self, cgroup: &'a str) -> Option<(Membership<'a>, String)> {
        let order = |membership: &Membership<'_>| {
            ORDER.iter().position(|name| membership.has(name)).unwrap_or(ORDER.len())
        };
        memberships(cgroup)
            .filter(|membership| membership.hierarchy != 0)
            .filter_map(|membership| Some((membership, self.folder(&membership)?)))
            .min_by_key(|(membership, _)| {
                let rank: Rank = Scope::of(membership.path).rank();
                (std::cmp::Reverse(rank), membership.path == "/", order(membership))
            })
    }

    fn folder(&self, membership: &Membership<'_>) -> Option<String> {
        self.legacy
            .iter()
            .find(|mount| mount.controllers.iter().all(|name| membership.has(name)))?
            .folder(membership.path)
    }
}

impl Mount {
    fn better(&self, other: &Self) -> bool {
        let rank = |mount: &Self| (mount.root != "/", mount.point.len());
        rank(self) < rank(other)
    }

    /// The folder of the cgroup at `path`, if it is below the mounted one.
    pub fn folder(&self, path: &str) -> Option<String> {
        let below = match self.root.as_str() {
            "/" => path,
            root => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
        };
        // A path outside the reader's namespace begins with `/..`: below a root it is found by its inode only.
        (!below.split('/').any(|part| part == ".."))
            .then(|| format!("{}{}", self.point, below.trim_end_matches('/')))
    }
}

impl Membership<'_> {
    fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|name| name == controller)
    }
}

/// The lines of /proc/PID/cgroup; what is no such line is left out.
pub fn memberships(text: &str) -> impl Iterator<Item = Membership<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let hierarchy = fields.next()?.parse().ok()?;
        let controllers = fields.next()?;
        let path = fields.next().filter(|path| path.starts_with('/'))?;
        Some(Membership { hierarchy, controllers, path })
    })
}

/// A cgroup mount of a mountinfo line, and whether it is v2.
fn mount(line: &str) -> Option<(Mount, bool)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let is_v2 = match after.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = after.nth(1).unwrap_or_default();
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
    const NO_CONTROLLERS: [&str; 4] = ["rw", "ro", "xattr", "seclabel"];
    let controllers = match is_v2 {
        true => Vec::new(),
        false => options
            .split(',')
            .filter(|option| {
                let option = *option;
                option.starts_with("name=") || !(option.contains('=') || NO_CONTROLLERS.contains(&option))
            })
            .map(str::to_owned)
            .collect(),
    };
    Some((Mount { controllers, root, point }, is_v2))
}

/// Without the octal escapes of mountinfo: space, tab, newline and backslash.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests;
