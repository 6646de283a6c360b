//! Whose a call is told to be, as sources answer before, after and never.

use super::script::*;
use crate::event::{CgroupKey, Event};
use crate::identity::answer::{About, Answer, Facts, Source, SourceState};

const ID: &str = "4a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef";

fn docker(name: &str, labels: &[(&str, &str)]) -> Event {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let facts = Facts { name: name.into(), ..Facts::default() }.labelled(labels);
    Event::Identity(Box::new(Answer {
        source: Source::Docker,
        about: About::Container(ID.into()),
        facts: Some(facts),
    }))
}

/// A process that runs in the container, in the v2 tree.
fn in_container(pid: u32) -> Script {
    let mut script = Script::new();
    script.exec(pid, 1, "/usr/bin/agent");
    script.push(Event::Cgroup { id: u64::from(pid) + 1, path: format!("/docker/{ID}") });
    script
}

#[test]
fn a_record_says_what_was_known_when_it_was_made() {
    let mut script = in_container(9);
    let client = Client::new(9, 3);
    let state = SourceState::Waiting("connection refused".into());
    script.push(Event::Source { source: Source::Docker, state }).hello(&client, Some(HOST));
    script.call(&client, KEY, (1, 2)).push(docker("web", &[("team", "a"), ("token", KEY)]));
    script.call(&client, KEY, (3, 4));
    let told = script.run();
    let workloads: Vec<_> = told.calls().into_iter().map(|call| call.workload.unwrap()).collect();
    assert_eq!(workloads[0].id, format!("docker://node/{ID}"));
    assert!(workloads[0].unknown_reason.contains("connection refused"), "{}", workloads[0].unknown_reason);
    assert_eq!((workloads[1].id.as_str(), workloads[1].unknown_reason.as_str()), ("docker://node/web", ""));
    assert_eq!(workloads[1].labels["team"], "a");
    assert!(!format!("{workloads:?}").contains(KEY), "a label holds a key: {workloads:?}");
}

#[test]
fn a_late_event_of_a_container_that_is_gone_has_its_last_name() {
    let mut script = in_container(9);
    let client = Client::new(9, 3);
    script.push(docker("web", &[])).hello(&client, Some(HOST)).call(&client, KEY, (1, 2)).exit(9);
    let time_ns = script.time();
    script.push(Event::CgroupGone { time_ns, cgroup: CgroupKey { hierarchy: 0, id: 10 } }).close(&client);
    let flow = script.run().flows().remove(0);
    let workload = flow.workload.unwrap();
    assert_eq!(workload.id, "docker://node/web");
    assert_eq!(workload.valid_until, time_ns.saturating_add_signed(OFFSET));
}

#[test]
fn a_pid_that_comes_again_is_not_in_the_old_container() {
    let old = CgroupKey { hierarchy: 4, id: 77 };
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    script.push(Event::Member { process: key(9), cgroup: old, path: format!("/docker/{ID}") });
    script.push(docker("web", &[])).exit(9);
    // Another generation of the pid, of which the membership is not read.
    let mut again = Client::new(9, 3);
    again.task.process.start_ns += S;
    script.hello(&again, Some(HOST)).call(&again, KEY, (1, 2));
    let workload = script.run().one_call().workload.unwrap();
    assert!(!workload.id.contains("docker") && workload.instance.is_empty(), "{workload:?}");
}

#[test]
fn children_stay_in_their_parents_container_and_a_moved_one_is_asked_anew() {
    let container = CgroupKey { hierarchy: 4, id: 77 };
    let unit = CgroupKey { hierarchy: 4, id: 78 };
    for (member, path, expected) in [
        (container, format!("/docker/{ID}"), format!("docker://node/{ID}")),
        // A runtime's child is moved between fork and exec: without a new word it is in no unit.
        (unit, "/system.slice/docker.service".into(), "user://node/1000/usr/bin/agent".into()),
    ] {
        let mut script = Script::new();
        script.exec(5, 1, "/usr/bin/runtime");
        script.push(Event::Member { process: key(5), cgroup: member, path });
        let time_ns = script.time();
        script.push(Event::Fork { time_ns, parent: key(5), child: key(9) }).exec(9, 5, "/usr/bin/agent");
        let client = Client::new(9, 3);
        script.hello(&client, Some(HOST)).call(&client, KEY, (1, 2));
        assert_eq!(script.run().one_call().workload.unwrap().id, expected);
    }
}
