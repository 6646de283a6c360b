//! What a cgroup path says about a workload: the systemd unit or the container in it.
//!
//! Layouts: systemd.special(7), the cgroupfs and systemd drivers of containerd, CRI-O, Docker and Podman.

use proto::v1::Workload;

/// Length of a container id, hexadecimal digits.
const CONTAINER_ID: usize = 64;
/// Suffixes of units that run something.
const UNITS: [&str; 2] = [".service", ".scope"];

/// The workload of a cgroup `path` on `host`; `uid` and `exe` name a user's own process. Evidence is
/// always `cgroup_path`, or `user` where the path says nothing.
pub fn workload(host: &str, path: &str, uid: Option<u32>, exe: &str) -> Workload {
    if let Some(container) = container(path) {
        return Workload {
            id: format!("docker://{host}/{container}"),
            kind: "container".into(),
            container: container.to_owned(),
            unit: unit(path).unwrap_or_default().to_owned(),
            evidence: "cgroup_path".into(),
            ..Default::default()
        };
    }
    match unit(path) {
        Some(unit) if !is_session(unit) => Workload {
            id: format!("systemd://{host}/{unit}"),
            kind: "systemd".into(),
            name: unit.to_owned(),
            unit: unit.to_owned(),
            evidence: "cgroup_path".into(),
            ..Default::default()
        },
        _ => Workload {
            id: match uid {
                Some(uid) => format!("user://{host}/{uid}/{}", exe.trim_start_matches('/')),
                None => String::new(),
            },
            kind: if uid.is_some() { "user".into() } else { String::new() },
            name: exe.rsplit('/').next().unwrap_or_default().to_owned(),
            evidence: if uid.is_some() { "user".into() } else { String::new() },
            ..Default::default()
        },
    }
}

/// The container id in a path: the last component that carries one.
pub fn container(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        // docker-<id>, cri-containerd-<id>, crio-<id>, libpod-<id>, or the bare id; containerd also
        // writes slice:prefix:id.
        let id = part.rsplit(['-', ':']).next()?;
        (id.len() == CONTAINER_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

/// The innermost systemd unit that runs something.
pub fn unit(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| UNITS.iter().any(|suffix| part.ends_with(suffix)))
}

/// Whether a unit only holds a login or a user's manager.
fn is_session(unit: &str) -> bool {
    unit.starts_with("session-") || unit.starts_with("user@") || unit == "init.scope"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef";

    #[test]
    fn containers_are_found_in_every_layout() {
        for path in [
            format!("/system.slice/docker-{ID}.scope"),
            format!("/docker/{ID}"),
            format!("/kubepods/besteffort/pod1b2/{ID}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod9_1.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}"),
        ] {
            assert_eq!(container(&path), Some(ID), "{path}");
            assert_eq!(workload("h", &path, Some(0), "/x").id, format!("docker://h/{ID}"), "{path}");
        }
    }

    #[test]
    fn units_are_the_innermost_that_run_something() {
        assert_eq!(
            workload("h", "/system.slice/agent.service", Some(0), "/x").id,
            "systemd://h/agent.service"
        );
        assert_eq!(
            unit("/user.slice/user-1000.slice/user@1000.service/app.slice/bot.service"),
            Some("bot.service")
        );
    }

    #[test]
    fn a_login_or_an_empty_path_is_the_users_own_program() {
        for path in ["/user.slice/user-1000.slice/session-3.scope", "/", "/init.scope", ""] {
            let workload = workload("h", path, Some(1000), "/usr/bin/curl");
            assert_eq!(workload.id, "user://h/1000/usr/bin/curl", "{path}");
        }
        assert_eq!(workload("h", "/", None, "/usr/bin/curl").id, "");
    }

    #[test]
    fn short_hexadecimal_names_are_no_containers() {
        assert_eq!(container("/system.slice/docker-abc123.scope"), None);
    }
}
