use proto::v1::{Ancestor, Sensor, Workload};

use super::*;

struct Call {
    key: &'static str,
    cgroup: &'static str,
    unit: &'static str,
    pid: u32,
    exe: &'static str,
    parents: &'static [u32],
}

const BASE: Call = Call { key: "kw1-a", cgroup: "/a", unit: "", pid: 10, exe: "/bin/agent", parents: &[] };

fn record(seq: u64, call: &Call) -> Record {
    let workload = Workload {
        id: if call.unit.is_empty() { "user://h/0/x".into() } else { format!("systemd://h/{}", call.unit) },
        kind: if call.unit.is_empty() { "user" } else { "systemd" }.into(),
        ..Default::default()
    };
    let process = Process {
        pid: call.pid,
        start_time: u64::from(call.pid),
        exe: call.exe.into(),
        cgroup: call.cgroup.into(),
        ancestors: call
            .parents
            .iter()
            .map(|pid| Ancestor { pid: *pid, start_time: u64::from(*pid), exe: String::new() })
            .collect(),
        ..Default::default()
    };
    let credential =
        Credential { fingerprint: call.key.into(), provider: "openai".into(), ..Default::default() };
    let call = ModelCall {
        process: Some(process),
        workload: Some(workload),
        credential: Some(credential),
        ..Default::default()
    };
    let mut record = Record::new(seq * 1000, Body::ModelCall(Box::new(call)));
    record.sensor = Some(Sensor { seq, ..Default::default() });
    record
}

fn run(calls: &[Call]) -> Vec<Finding> {
    let mut rule = SharedCredential::default();
    calls.iter().enumerate().filter_map(|(seq, call)| rule.record(&record(seq as u64, call))).collect()
}

#[test]
fn two_cgroups_share_and_the_finding_names_both_with_evidence() {
    let findings = run(&[BASE, Call { cgroup: "/b", pid: 20, ..BASE }]);
    assert_eq!(findings.len(), 1);
    let finding = &findings[0];
    assert_eq!((finding.state.as_str(), finding.severity.as_str()), ("open", "high"));
    assert_eq!(finding.participants.len(), 2);
    assert_eq!(finding.participants[0].evidence, [0]);
    assert_eq!(finding.participants[1].evidence, [1]);
    assert_eq!(finding.title, "One openai key (kw1-a) is used by agent[10] in /a and agent[20] in /b");
}

#[test]
fn two_unrelated_trees_of_one_cgroup_share() {
    let findings = run(&[
        Call { parents: &[5, 1], ..BASE },
        Call { pid: 20, exe: "/bin/other", parents: &[6, 1], ..BASE },
    ]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, "medium");
}

#[test]
fn a_parent_and_its_child_are_one_identity() {
    assert!(run(&[BASE, Call { pid: 20, exe: "/bin/tool", parents: &[10, 1], ..BASE }]).is_empty());
}

#[test]
fn two_tools_of_one_agent_are_one_identity() {
    let calls = [
        Call { pid: 20, exe: "/bin/x", parents: &[10, 1], ..BASE },
        Call { pid: 21, exe: "/bin/y", parents: &[10, 1], ..BASE },
    ];
    assert!(run(&calls).is_empty());
}

#[test]
fn runs_of_one_program_in_one_place_are_one_identity() {
    assert!(run(&[BASE, Call { pid: 20, ..BASE }, Call { pid: 30, ..BASE }]).is_empty());
}

#[test]
fn replicas_of_a_unit_are_one_identity_and_two_units_are_two() {
    let one = Call { unit: "bot.service", ..BASE };
    assert!(run(&[one, Call { unit: "bot.service", pid: 20, cgroup: "/other", ..BASE }]).is_empty());
    let one = Call { unit: "bot.service", ..BASE };
    assert_eq!(run(&[one, Call { unit: "report.service", pid: 20, ..BASE }]).len(), 1);
}

#[test]
fn different_keys_are_not_shared() {
    assert!(run(&[BASE, Call { key: "kw1-b", cgroup: "/b", pid: 20, ..BASE }]).is_empty());
}

#[test]
fn a_third_user_updates_the_finding_and_repeats_do_not() {
    let findings = run(&[
        BASE,
        Call { cgroup: "/b", pid: 20, ..BASE },
        Call { cgroup: "/b", pid: 20, ..BASE },
        Call { cgroup: "/c", pid: 30, ..BASE },
    ]);
    let states: Vec<_> = findings.iter().map(|finding| finding.state.as_str()).collect();
    assert_eq!(states, ["open", "updated"]);
    assert_eq!(findings[0].id, findings[1].id);
}

#[test]
fn an_unknown_owner_takes_part_in_nothing() {
    let mut rule = SharedCredential::default();
    let mut unknown = record(0, &BASE);
    if let Some(Body::ModelCall(call)) = &mut unknown.body {
        call.process.as_mut().unwrap().unknown_reason = "not seen".into();
    }
    assert!(rule.record(&unknown).is_none());
    assert!(rule.record(&record(1, &Call { cgroup: "/b", ..BASE })).is_none());
}

#[test]
fn memory_is_bounded() {
    let mut rule = SharedCredential::default();
    for index in 0..MAX_CREDENTIALS + 3 {
        let mut call = record(index as u64, &BASE);
        if let Some(Body::ModelCall(call)) = &mut call.body {
            call.credential.as_mut().unwrap().fingerprint = format!("kw1-{index}");
        }
        rule.record(&call);
    }
    assert_eq!((rule.len(), rule.forgotten), (MAX_CREDENTIALS, 3));
}

#[test]
fn the_credential_used_least_recently_makes_room() {
    let named = |seq: u64, index: usize| {
        let mut call = record(seq, &BASE);
        if let Some(Body::ModelCall(call)) = &mut call.body {
            call.credential.as_mut().unwrap().fingerprint = format!("kw1-{index}");
        }
        call
    };
    let mut rule = SharedCredential::default();
    for index in 0..MAX_CREDENTIALS {
        rule.record(&named(index as u64, index));
    }
    rule.record(&named(9000, 0));
    rule.record(&named(9001, MAX_CREDENTIALS));
    assert!(rule.uses.contains_key("kw1-0") && !rule.uses.contains_key("kw1-1"));
    assert_eq!(rule.order.len(), MAX_CREDENTIALS);
}

#[test]
fn places_of_one_credential_are_bounded() {
    let mut rule = SharedCredential::default();
    let mut findings = 0;
    for index in 0..3 * MAX_IDENTITIES as u64 {
        let mut call = record(index, &BASE);
        if let Some(Body::ModelCall(call)) = &mut call.body {
            call.process.as_mut().unwrap().cgroup = format!("/{index}");
        }
        findings += usize::from(rule.record(&call).is_some());
    }
    assert_eq!(rule.uses["kw1-a"].identities.len(), MAX_IDENTITIES);
    assert_eq!(findings, MAX_IDENTITIES - 1);
    assert_eq!(rule.uses["kw1-a"].count, 3 * MAX_IDENTITIES as u64);
}
