use super::*;
use crate::identity::answer::{Owner, Pod, PodContainer};

const A: &str = "4a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef";
const B: &str = "b43d92bf1e5c6f78bb9b7bc6f40721280299855ba692092716e3a1b6c0b86f3f";
const UID: &str = "6a4ce4a0-ba47-11ea-b2a7-0cc47ac5979e";
const PROCESS: ProcessKey = ProcessKey { pid: 7, start_ns: 70 };
const S: u64 = 1_000_000_000;

fn v2(id: u64) -> CgroupKey {
    CgroupKey { hierarchy: 0, id }
}

fn v1(id: u64) -> CgroupKey {
    CgroupKey { hierarchy: 4, id }
}

fn named(workloads: &Workloads, unified: u64, legacy: Option<CgroupKey>) -> v1::Workload {
    let place = workloads.place(unified, legacy, None);
    workloads.workload(&Asked { host: "h", process: PROCESS, uid: Some(1000), exe: "/usr/bin/curl", place })
}

fn container(source: Source, id: &str, facts: Facts) -> Answer {
    Answer { source, about: About::Container(id.into()), facts: Some(facts) }
}

fn docker(id: &str, name: &str) -> Answer {
    container(
        Source::Docker,
        id,
        Facts { name: name.into(), image: "agent:1".into(), from: 5, ..Facts::default() },
    )
}

fn pod(owner: Option<&str>) -> Pod {
    let owner = owner.map(|name| Owner { kind: "Deployment".into(), name: name.into(), by_labels: false });
    Pod {
        cluster: "prod".into(),
        namespace: "ai".into(),
        name: "web-1-x".into(),
        uid: UID.into(),
        service_account: "agent".into(),
        node: "n1".into(),
        owner,
        containers: vec![PodContainer { id: A.into(), name: "app".into(), image: "app:2".into() }],
        ..Pod::default()
    }
}

fn kubernetes(pod: Pod) -> Answer {
    let spiffe_id = "spiffe://td/ns/ai/sa/agent".into();
    let facts = Facts { pod: Some(pod), spiffe_id, ..Facts::default() };
    Answer { source: Source::Kubernetes, about: About::Pod(UID.into()), facts: Some(facts) }
}

fn in_pod(id: &str) -> String {
    format!("/kubepods/burstable/pod{UID}/{id}")
}

#[test]
fn what_a_path_alone_says_is_no_more_than_that() {
    let mut workloads = Workloads::default();
    workloads.source(Source::Docker, SourceState::Waiting("connection refused".into()));
    for (id, path, expected) in [
        (1, format!("/system.slice/docker-{A}.scope"), format!("docker://h/{A}")),
        (2, in_pod(A), format!("container://h/{A}")),
        (3, format!("/machine.slice/libpod-{A}.scope"), format!("podman://h/{A}")),
        (4, "/system.slice/agent.service".into(), "systemd://h/agent.service".into()),
        (5, "/lxc/db".into(), "lxc://h/db".into()),
        (6, "/user.slice/user-1000.slice/session-3.scope".into(), "user://h/1000/usr/bin/curl".into()),
        (7, "/".into(), "user://h/1000/usr/bin/curl".into()),
    ] {
        workloads.cgroup(v2(id), path.clone(), 11);
        let found = named(&workloads, id, None);
        assert_eq!(found.id, expected, "{path}");
        let by_id = !found.container.is_empty() && found.name.is_empty();
        assert_eq!(!found.unknown_reason.is_empty(), by_id, "{path}: {}", found.unknown_reason);
    }
    let reason = named(&workloads, 1, None).unknown_reason;
    assert!(reason.contains("docker: not connected, connection refused"), "{reason}");
    assert_eq!(named(&workloads, 9, None).id, "user://h/1000/usr/bin/curl");
}

#[test]
fn sources_count_in_order_of_trust_whatever_comes_first() {
    let labels = [
        ("io.kubernetes.pod.name", "web-1-x"),
        ("io.kubernetes.pod.uid", UID),
        ("io.kubernetes.pod.namespace", "ai"),
        ("io.kubernetes.container.name", "app"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let answers = [
        kubernetes(pod(Some("web"))),
        container(
            Source::Cri,
            A,
            Facts { pod: Pod::of_labels(&labels), from: 8, until: 9, ..Facts::default() },
        ),
        docker(A, "k8s_app_web"),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut workloads = Workloads::default();
        workloads.cgroup(v2(1), in_pod(A), 11);
        for at in order {
            workloads.answer(answers[at].clone(), 0);
        }
        let found = named(&workloads, 1, None);
        assert_eq!(
            (found.id.as_str(), found.evidence.as_str()),
            ("k8s://prod/ai/deployment/web", "kubernetes")
        );
        assert_eq!((found.pod.as_str(), found.container.as_str()), ("web-1-x", "app"));
        assert_eq!((found.service_account.as_str(), found.node.as_str()), ("agent", "n1"));
        assert_eq!((found.image.as_str(), found.instance.as_str()), ("app:2", A));
        assert_eq!((found.valid_from, found.valid_until), (8, 9));
        assert_eq!(
            (found.spiffe_id.as_str(), found.spiffe_evidence.as_str()),
            ("spiffe://td/ns/ai/sa/agent", "derived")
        );
        assert_eq!(found.unknown_reason, "");
    }
}

#[test]
fn a_pod_without_the_api_says_whose_answer_is_missing() {
    let mut workloads = Workloads::default();
    workloads.cgroup(v2(1), in_pod(A), 11);
    workloads.source(Source::Kubernetes, SourceState::Off("not configured".into()));
    let without = Pod { owner: None, ..pod(None) };
    workloads.answer(container(Source::Cri, A, Facts { pod: Some(without), ..Facts::default() }), 0);
    let found = named(&workloads, 1, None);
    assert_eq!((found.id.as_str(), found.evidence.as_str()), ("k8s://prod/ai/pod/web-1-x", "cri"));
    assert!(found.unknown_reason.contains("kubernetes: off, not configured"), "{}", found.unknown_reason);
    let owner = Owner { kind: "Deployment".into(), name: "web".into(), by_labels: true };
    let labelled = Pod { owner: Some(owner), ..pod(None) };
    workloads.answer(container(Source::Cri, A, Facts { pod: Some(labelled), ..Facts::default() }), 0);
    let found = named(&workloads, 1, None);
    assert_eq!((found.id.as_str(), found.evidence.as_str()), ("k8s://prod/ai/deployment/web", "cri_labels"));
}

#[test]
fn a_container_that_is_gone_keeps_its_name_for_late_events_and_no_longer() {
    let mut workloads = Workloads::default();
    workloads.cgroup(v2(1), format!("/docker/{A}"), 11);
    workloads.answer(docker(A, "web"), 0);
    workloads.gone(v2(1), S, 77);
    workloads.gone(v2(1), 2 * S, 99);
    // The runtime forgets it at once.
    workloads.answer(Answer { source: Source::Docker, about: About::Container(A.into()), facts: None }, S);
    workloads.expire(S + LATE_NS);
    let found = named(&workloads, 1, None);
    assert_eq!((found.id.as_str(), found.valid_from, found.valid_until), ("docker://h/web", 5, 77));
    workloads.expire(2 * S + 2 * LATE_NS);
    assert_eq!(workloads.len(), (0, 0));
    assert!(workloads.cgroup_order.is_empty() && workloads.subject_order.is_empty());
    assert_eq!(named(&workloads, 1, None).id, "user://h/1000/usr/bin/curl");
}

#[test]
fn a_name_that_comes_again_inherits_nothing() {
    let mut workloads = Workloads::default();
    workloads.cgroup(v2(1), format!("/docker/{A}"), 11);
    workloads.answer(docker(A, "web"), 0);
    workloads.gone(v2(1), S, 22);
    // The same container name: another id, of which nothing is known yet.
    workloads.cgroup(v2(2), format!("/docker/{B}"), 33);
    let found = named(&workloads, 2, None);
    assert_eq!((found.id, found.image.as_str()), (format!("docker://h/{B}"), ""));
    workloads.answer(docker(B, "web"), 0);
    let (old, new) = (named(&workloads, 1, None), named(&workloads, 2, None));
    assert_eq!(old.id, new.id);
    assert_eq!((old.instance.as_str(), new.instance.as_str()), (A, B));
    assert_eq!((old.valid_until, new.valid_until), (22, 0));
}

#[test]
fn a_cgroup_id_that_comes_again_inherits_nothing() {
    let mut workloads = Workloads::default();
    let unit = |invocation: &str| Answer {
        source: Source::Systemd,
        about: About::Cgroup(v2(1)),
        facts: Some(Facts { instance: invocation.into(), from: 5, ..Facts::default() }),
    };
    workloads.cgroup(v2(1), "/system.slice/agent.service".into(), 11);
    assert_eq!(named(&workloads, 1, None).instance, "cgroup-1");
    workloads.answer(unit("first"), 0);
    workloads.cgroup(v2(1), "/system.slice/agent.service".into(), 12);
    let found = named(&workloads, 1, None);
    assert_eq!((found.instance.as_str(), found.evidence.as_str(), found.valid_from), ("first", "systemd", 5));
    // Gone and there again, with the same path; then with another, without a word of its end.
    workloads.gone(v2(1), S, 22);
    workloads.cgroup(v2(1), "/system.slice/agent.service".into(), 33);
    let found = named(&workloads, 1, None);
    assert_eq!((found.instance.as_str(), found.valid_from, found.valid_until), ("cgroup-1", 33, 0));
    workloads.answer(unit("second"), 0);
    workloads.cgroup(v2(1), "/system.slice/other.service".into(), 44);
    let found = named(&workloads, 1, None);
    assert_eq!((found.id.as_str(), found.instance.as_str()), ("systemd://h/other.service", "cgroup-1"));
}

#[test]
fn an_attested_id_is_one_process_generations() {
    let mut workloads = Workloads::default();
    workloads.cgroup(v2(1), in_pod(A), 11);
    workloads.answer(kubernetes(pod(Some("web"))), 0);
    let facts = Facts { spiffe_id: "spiffe://td/attested".into(), ..Facts::default() };
    workloads.answer(Answer { source: Source::Spire, about: About::Process(PROCESS), facts: Some(facts) }, 0);
    let found = named(&workloads, 1, None);
    assert_eq!(
        (found.spiffe_id.as_str(), found.spiffe_evidence.as_str()),
        ("spiffe://td/attested", "attested")
    );
    let place = workloads.place(1, None, None);
    let reused = ProcessKey { start_ns: 71, ..PROCESS };
    let other = workloads.workload(&Asked { host: "h", process: reused, uid: None, exe: "", place });
    assert_eq!(other.spiffe_evidence, "derived");
}

#[test]
fn on_hosts_with_v1_the_hierarchy_that_says_most_counts() {
    let mut workloads = Workloads::default();
    workloads.cgroup(v2(1), "/system.slice/containerd.service".into(), 11);
    assert_eq!(named(&workloads, 1, None).id, "systemd://h/containerd.service");
    workloads.cgroup(v1(9), format!("/docker/{A}"), 11);
    assert_eq!(named(&workloads, 1, Some(v1(9))).id, format!("docker://h/{A}"));
    // The same inode number in two hierarchies is two cgroups.
    workloads.cgroup(v1(1), "/system.slice/ssh.service".into(), 11);
    assert_eq!(named(&workloads, 1, Some(v1(1))).id, "systemd://h/containerd.service");
    // Without the v1 membership a runtime's unit may be anybody's, and so may the root.
    workloads.cgroup(v2(2), "/".into(), 11);
    for id in [1, 2] {
        let found = named(&workloads, id, None);
        assert_eq!((found.id.as_str(), found.unknown_reason.as_str()), ("", UNREAD));
    }
    // Another unit is not.
    workloads.cgroup(v2(3), "/system.slice/agent.service".into(), 11);
    assert_eq!(named(&workloads, 3, None).id, "systemd://h/agent.service");
}

#[test]
fn tables_are_bounded_and_the_newest_stay() {
    let mut workloads = Workloads::default();
    for id in 0..MAX_CGROUPS as u64 + 5 {
        workloads.cgroup(v2(id), format!("/a/{id}"), 1);
    }
    for id in 0..MAX_SUBJECTS + 5 {
        workloads.answer(docker(&format!("{id:064x}"), "n"), 0);
    }
    assert_eq!(workloads.len(), (MAX_CGROUPS, MAX_SUBJECTS));
    assert_eq!(workloads.place(MAX_CGROUPS as u64 + 4, None, None).path, format!("/a/{}", MAX_CGROUPS + 4));
    assert_eq!(workloads.place(0, None, None).path, "");
}
