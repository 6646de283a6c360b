use super::*;

/// Root and point of the v2 mount.
type V2 = Option<(&'static str, &'static str)>;
/// A controller, and root and point of its v1 mount.
type V1 = Option<(&'static str, &'static str, &'static str)>;

/// Mount tables of real hosts and containers: what it is, the lines, and what they say.
const TABLES: [(&str, &str, Mode, V2, V1); 12] = [
    (
        "systemd, v2 only (Debian 12, Ubuntu 22.04, RHEL 9)",
        "34 25 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        Mode::Unified,
        Some(("/", "/sys/fs/cgroup")),
        None,
    ),
    (
        "systemd, hybrid (Debian 10, Ubuntu 20.04)",
        "25 30 0:23 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755\n26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate\n27 25 0:25 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd\n33 25 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,cpu,cpuacct\n",
        Mode::Hybrid,
        Some(("/", "/sys/fs/cgroup/unified")),
        Some(("cpuacct", "/", "/sys/fs/cgroup/cpu,cpuacct")),
    ),
    (
        "v1 only (CentOS 7)",
        "26 18 0:20 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:8 - tmpfs tmpfs ro,mode=755\n27 26 0:21 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:9 - cgroup cgroup rw,xattr,release_agent=/usr/lib/systemd/systemd-cgroups-agent,name=systemd\n30 26 0:24 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,memory\n",
        Mode::Legacy,
        None,
        Some(("name=systemd", "/", "/sys/fs/cgroup/systemd")),
    ),
    (
        "v1 only with SELinux",
        "30 26 0:24 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:12 - cgroup cgroup rw,seclabel,memory\n",
        Mode::Legacy,
        None,
        Some(("memory", "/", "/sys/fs/cgroup/memory")),
    ),
    (
        "no systemd, hybrid, one controller a hierarchy",
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        Mode::Hybrid,
        Some(("/", "/sys/fs/cgroup/unified")),
        Some(("memory", "/", "/sys/fs/cgroup/memory")),
    ),
    (
        "a container with a cgroup namespace of its own, v2",
        "2305 2301 0:55 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro\n2306 2305 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n",
        Mode::Unified,
        Some(("/", "/sys/fs/cgroup")),
        None,
    ),
    (
        "a kind pod in the host's cgroup namespace, v2",
        "1487 1486 0:32 /kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod18640755_cc12_4557_b96e_0f74d5b44d1d.slice/cri-containerd-66221e7d988e193822a3e8368b61ad9aeabf6b5276df76daebb7ea33bccc0b87.scope /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n",
        Mode::Unified,
        Some((
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod18640755_cc12_4557_b96e_0f74d5b44d1d.slice/cri-containerd-66221e7d988e193822a3e8368b61ad9aeabf6b5276df76daebb7ea33bccc0b87.scope",
            "/sys/fs/cgroup",
        )),
        None,
    ),
    (
        "a pod under containerd, v1",
        "5631 5630 0:529 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755\n5632 5631 0:30 /system.slice/containerd.service/kubepods-besteffort-pod214f3ba8_4b69_4bdb_a7d5_5ecc73f04ae9.slice:cri-containerd:d4e8e05a546c86b6443f101966c618e47753ed01fa9929cae00d3b692f7a9f80 /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,xattr,name=systemd\n",
        Mode::Legacy,
        None,
        Some((
            "name=systemd",
            "/system.slice/containerd.service/kubepods-besteffort-pod214f3ba8_4b69_4bdb_a7d5_5ecc73f04ae9.slice:cri-containerd:d4e8e05a546c86b6443f101966c618e47753ed01fa9929cae00d3b692f7a9f80",
            "/sys/fs/cgroup/systemd",
        )),
    ),
    (
        "v2 mounted twice",
        "34 28 0:29 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:8 - cgroup2 cgroup2 rw\n1479 28 0:29 / /run/some/module/cgroupv2 rw,relatime shared:650 - cgroup2 none rw\n",
        Mode::Unified,
        Some(("/", "/sys/fs/cgroup")),
        None,
    ),
    (
        "a pod with the host's tree beside its own part",
        "70 60 0:29 /kubepods.slice /sys/fs/cgroup ro,relatime - cgroup2 cgroup2 rw\n71 60 0:29 / /host/sys/fs/cgroup rw,relatime master:8 - cgroup2 cgroup2 rw\n",
        Mode::Unified,
        Some(("/", "/host/sys/fs/cgroup")),
        None,
    ),
    (
        "a space in the path",
        "30 20 0:27 /tenant /mnt/c\\040g rw - cgroup2 cgroup rw\n",
        Mode::Unified,
        Some(("/tenant", "/mnt/c g")),
        None,
    ),
    ("nothing", "1 0 0:1 / / rw - ext4 /dev/root rw\nno mount line\n", Mode::None, None, None),
];

#[test]
fn every_mount_table_is_read() {
    for (name, text, mode, unified, legacy) in TABLES {
        let found = Hierarchies::of(text);
        assert_eq!(found.mode(), mode, "{name}");
        let mount = found.unified.as_ref().map(|mount| (mount.root.as_str(), mount.point.as_str()));
        assert_eq!(mount, unified, "{name}");
        if let Some((controller, root, point)) = legacy {
            let mount = found.legacy.iter().find(|mount| mount.controllers.iter().any(|c| c == controller));
            let mount = mount.expect(name);
            assert_eq!((mount.root.as_str(), mount.point.as_str()), (root, point), "{name}");
        }
    }
}

fn hybrid() -> Hierarchies {
    Hierarchies::of(TABLES[1].1)
}

#[test]
fn the_membership_that_says_most_counts() {
    let id = "b43d92bf1e5c6f78bb9b7bc6f40721280299855ba692092716e3a1b6c0b86f3f";
    // Docker's cgroupfs driver under systemd: the container is not in the v2 tree.
    let text = format!(
        "12:cpu,cpuacct:/docker/{id}\n1:name=systemd:/docker/{id}\n0::/system.slice/containerd.service\n"
    );
    let hierarchies = hybrid();
    let (membership, folder) = hierarchies.best(&text).unwrap();
    assert_eq!((membership.hierarchy, membership.controllers), (1, "name=systemd"));
    assert_eq!(folder, format!("/sys/fs/cgroup/systemd/docker/{id}"));
    // A unit in systemd's hierarchy, a container by a controller only.
    let text = format!("12:cpu,cpuacct:/docker/{id}\n1:name=systemd:/system.slice/docker.service\n0::/\n");
    assert_eq!(hierarchies.best(&text).unwrap().0.hierarchy, 12);
    // None says anything: the first that is not the root.
    let text = "12:cpu,cpuacct:/a\n1:name=systemd:/\n0::/\n";
    assert_eq!(hierarchies.best(text).unwrap().0.path, "/a");
}

#[test]
fn v2_and_foreign_lines_are_no_v1_membership() {
    for text in ["0::/docker/x\n", "", "x:memory:/a\n", "7:memory\n", "7:memory:relative\n", "7:rdma:/a\n"] {
        assert_eq!(hybrid().best(text), None, "{text:?}");
    }
}

#[test]
fn a_folder_is_below_its_mount_or_unknown() {
    let mount = Mount { controllers: Vec::new(), root: "/a".into(), point: "/m".into() };
    assert_eq!(mount.folder("/a/b").as_deref(), Some("/m/b"));
    assert_eq!(mount.folder("/a").as_deref(), Some("/m"));
    for path in ["/ab", "/b", "/../x", "/a/../../etc"] {
        assert_eq!(mount.folder(path), None, "{path}");
    }
    let root = Mount { root: "/".into(), ..mount };
    assert_eq!(root.folder("/").as_deref(), Some("/m"));
    assert_eq!(root.folder("/../x"), None);
}
