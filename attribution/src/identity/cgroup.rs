//! What a cgroup path says: the container, pod, systemd unit, user or scheduler's task in it.
//!
//! Layouts: systemd.special(7) and systemd.unit(5); the cgroupfs and systemd drivers of Docker, containerd,
//! CRI-O and Podman; lxc.container.conf(5); systemd-nspawn(1); Amazon ECS; Nomad. The table of the tests,
//! `cgroup/paths.tsv`, says for each form where it was seen.

/// Length of a container id, hexadecimal digits.
const CONTAINER_ID: usize = 64;
/// How units and cgroups of containers begin, and who makes them.
const RUNTIMES: [(&str, &str); 12] = [
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    ("containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "crio"),
    ("libpod-payload", "podman"),
    ("libpod", "podman"),
    ("buildah", "podman"),
    // Folders that hold containers by their bare id.
    ("moby", "docker"),
    ("actions_job", "docker"),
    ("default", "containerd"),
    ("k8s.io", "containerd"),
];
/// Units of a container's monitor, which is a process of the host.
const MONITORS: [&str; 3] = ["crio-conmon-", "libpod-conmon-", "conmon-"];
/// Suffixes of units that run something.
const UNITS: [&str; 2] = [".service", ".scope"];
/// Units that hold programs of users, or jobs, and stand for no workload of their own. Transient units have
/// a new name in every run.
const HOLDERS: [&str; 6] = ["session-", "user@", "init.scope", "slurmstepd.scope", "run-r", "run-u"];

/// What a path says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Who made the innermost container: `docker`, `containerd`, `crio`, `podman`, `lxc`, `nspawn`, `libvirt`,
    /// `ecs`, `nomad`, `garden`; `container` when the path does not tell.
    pub runtime: &'static str,
    /// Id of the innermost container, or its name where names are all there is.
    pub container: String,
    /// Kubernetes pod uid, as the API writes it.
    pub pod_uid: String,
    /// Innermost unit that stands for a workload; units of a user's own manager as `user@UID.service/UNIT`.
    pub unit: String,
    /// Whose login, or user manager, it is in.
    pub user: Option<u32>,
    /// ECS task or Nomad allocation.
    pub task: String,
    /// `ecs` or `nomad`, once in its folder.
    scheduler: &'static str,
    /// The user manager's unit, once in it.
    manager: String,
}

/// How much a scope says, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// At best whose session it is.
    User,
    /// A systemd unit.
    Unit,
    /// A container.
    Container,
}

impl Scope {
    /// Reads a path, as /proc/PID/cgroup has it. Paths seen from inside a cgroup namespace begin with `/..`.
    pub fn of(path: &str) -> Self {
        let mut scope = Self::default();
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let mut parent = "";
        for part in path.split('/').filter(|part| !part.is_empty() && *part != "..") {
            // containerd without a systemd behind its systemd driver: SLICE:PREFIX:ID.
            if let Some((slice, rest)) = part.split_once(".slice:")
                && let Some((prefix, id)) = rest.split_once(':')
            {
                scope.slice(slice);
                scope.named(prefix, id);
            } else {
                scope.part(part, parent);
            }
            parent = part;
        }
        scope
    }

    /// How much it says.
    pub fn rank(&self) -> Rank {
        match (self.container.is_empty(), self.unit.is_empty()) {
            (false, _) => Rank::Container,
            (_, false) => Rank::Unit,
            _ => Rank::User,
        }
    }

    /// Whether a unit of a container runtime is all it says: on hosts with cgroup v1, containers can be there
    /// in the v2 tree.
    pub fn is_runtime_unit(&self) -> bool {
        const NAMES: [&str; 8] =
            ["containerd", "docker", "crio", "podman", "kubelet", "k3s", "k3s-agent", "snap.docker.dockerd"];
        let name = self.unit.strip_suffix(".service").unwrap_or_default();
        self.rank() == Rank::Unit && NAMES.contains(&name)
    }

    fn part(&mut self, part: &str, parent: &str) {
        if let Some(slice) = part.strip_suffix(".slice") {
            return self.slice(slice);
        }
        let bare = part.strip_suffix(".scope").unwrap_or(part);
        if MONITORS.iter().any(|monitor| bare.starts_with(monitor)) {
            return;
        }
        if is_id(bare) {
            return self.bare(bare, parent);
        }
        if let Some((prefix, id)) = bare.rsplit_once('-')
            && is_id(id)
        {
            return self.named(prefix, id);
        }
        if let Some(uid) = bare.strip_prefix("pod").filter(|uid| is_uid(uid)) {
            self.pod_uid = uid.to_owned();
        } else if !self.machine(bare, part, parent) && !self.scheduled(bare, parent) {
            self.unit(part);
        }
    }

    fn slice(&mut self, name: &str) {
        let last = name.rsplit('-').next().unwrap_or_default();
        if let Some(uid) = last.strip_prefix("pod").map(|uid| uid.replace('_', "-")).filter(|uid| is_uid(uid))
        {
            self.pod_uid = uid;
        } else if let Some(uid) = name.strip_prefix("user-") {
            self.user = uid.parse().ok();
        } else if let Some(task) = name.to_ascii_lowercase().strip_prefix("ecstasks-") {
            task.clone_into(&mut self.task);
        } else if name == "nomad" {
            self.scheduler = "nomad";
        }
    }

    /// `PREFIX-ID`.
    fn named(&mut self, prefix: &str, id: &str) {
        let known = RUNTIMES.iter().find(|(name, _)| *name == prefix);
        self.enter(known.map_or("container", |(_, runtime)| runtime), id);
        // A Podman container of a service stands in the service.
        if prefix != "libpod-payload" {
            self.unit.clear();
        }
    }

    /// An id alone; the folder around it may tell whose.
    fn bare(&mut self, id: &str, parent: &str) {
        let known = RUNTIMES.iter().find(|(name, _)| *name == parent);
        let runtime = match known {
            Some((_, runtime)) => runtime,
            None if !self.task.is_empty() => "docker",
            None => "container",
        };
        self.enter(runtime, id);
        self.unit.clear();
    }

    fn enter(&mut self, runtime: &'static str, container: &str) {
        self.runtime = runtime;
        container.clone_into(&mut self.container);
    }

    /// Containers and virtual machines that have names: LXC, systemd-nspawn, libvirt.
    fn machine(&mut self, bare: &str, part: &str, parent: &str) -> bool {
        let lxc = match parent {
            "lxc" | "lxc.payload" if self.container.is_empty() => Some(bare),
            _ => bare.strip_prefix("lxc.payload.").or_else(|| bare.strip_prefix("lxc.payload-")),
        };
        if let Some(name) = lxc {
            self.enter("lxc", name);
        } else if parent == "garden" {
            self.enter("garden", bare);
        } else if let Some(name) = bare.strip_prefix("machine-").filter(|_| part.ends_with(".scope")) {
            let name = unescape(name);
            match name.strip_prefix("qemu-").or_else(|| name.strip_prefix("lxc-")) {
                // libvirt counts its machines up: qemu-NUMBER-NAME.
                Some(counted) => {
                    self.enter("libvirt", counted.split_once('-').map_or(counted, |(_, name)| name))
                }
                None => self.enter("nspawn", &name),
            }
        } else if let Some(name) =
            part.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service"))
        {
            self.enter("nspawn", &unescape(name));
        } else {
            return false;
        }
        self.unit.clear();
        true
    }

    /// Tasks of ECS and of Nomad.
    fn scheduled(&mut self, bare: &str, parent: &str) -> bool {
        match (self.scheduler, bare) {
            (_, "ecs") => self.scheduler = "ecs",
            (_, "nomad") => self.scheduler = "nomad",
            ("nomad", _) => {
                let Some((alloc, task)) = bare.split_once('.').filter(|(alloc, _)| is_uid(alloc)) else {
                    return false;
                };
                self.enter("nomad", task);
                alloc.clone_into(&mut self.task);
            }
            // Fargate: the task and a number. Elsewhere the container's id follows in a folder of its own.
            ("ecs", _) => match bare.split_once('-') {
                Some((task, number))
                    if parent == "ecs" && task.len() == 32 && number.bytes().all(|b| b.is_ascii_digit()) =>
                {
                    self.enter("ecs", bare);
                    task.clone_into(&mut self.task);
                }
                _ if is_uid(bare) => bare.clone_into(&mut self.task),
                _ => {}
            },
            _ => return false,
        }
        self.unit.clear();
        true
    }

    fn unit(&mut self, part: &str) {
        if !UNITS.iter().any(|suffix| part.ends_with(suffix)) {
            return;
        }
        if HOLDERS.iter().any(|holder| part.starts_with(holder)) {
            self.unit.clear();
            if let Some(user) = part.strip_prefix("user@").and_then(|part| part.strip_suffix(".service")) {
                self.user = user.parse().ok();
                part.clone_into(&mut self.manager);
            }
        } else if self.manager.is_empty() {
            self.unit = unescape(part);
        } else if part.ends_with(".service") {
            // The scopes of a user's manager hold the user's own programs.
            self.unit = format!("{}/{}", self.manager, unescape(part));
        }
    }
}

fn is_hexadecimal(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_id(text: &str) -> bool {
    is_hexadecimal(text, CONTAINER_ID)
}

/// A UUID, or the 32 digits that a static pod has instead.
fn is_uid(text: &str) -> bool {
    let digits = || text.bytes().filter(|byte| *byte != b'-');
    matches!(text.len(), 32 | 36) && digits().count() == 32 && digits().all(|byte| byte.is_ascii_hexdigit())
}

/// A unit's name without systemd's escapes: `\x2d` is `-` (systemd.unit(5), "String Escaping").
fn unescape(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte.filter(u8::is_ascii_graphic), part.get(2..)) {
            (Some(byte), Some(rest)) => {
                plain.push(char::from(byte));
                plain.push_str(rest);
            }
            _ => {
                plain.push_str("\\x");
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests;
