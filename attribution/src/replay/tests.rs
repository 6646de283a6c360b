use std::sync::Arc;

use proptest::prelude::*;
use proto::v1::{Credential, ModelCall, Process, Sensor, Workload, record::Body};

use super::*;

fn call(seq: u64, key: &str, place: &str) -> Record {
    let call = ModelCall {
        credential: Some(Credential { fingerprint: key.into(), ..Default::default() }),
        process: Some(Process {
            pid: 10 + u32::from(place.as_bytes()[0]),
            start_time: 1,
            exe: format!("/bin/{place}"),
            cgroup: format!("/{place}"),
            ..Default::default()
        }),
        workload: Some(Workload {
            id: format!("docker://h/{place}"),
            kind: "docker".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut record = Record::new(1_000 * seq, Body::ModelCall(Box::new(call)));
    record.sensor = Some(Sensor { host: "h".into(), boot_id: "b".into(), seq });
    record
}

/// Calls, and the findings that the rule makes of them, as a sensor would have written them.
fn recorded(calls: &[Record]) -> Vec<Record> {
    let mut rule = Detector::new(Arc::default());
    let mut out = Vec::new();
    for record in calls {
        out.push(record.clone());
        out.extend(
            rule.record(record).into_iter().map(|finding| Record::new(record.time, Body::Finding(finding))),
        );
    }
    out
}

fn replay(records: &[Record]) -> Replay {
    let mut replay = Replay::new(Detector::new(Arc::default()));
    records.iter().for_each(|record| replay.record(record));
    replay
}

#[test]
fn what_is_missing_new_or_different_is_told() {
    let calls = [call(1, "k", "a"), call(2, "k", "b"), call(3, "k", "c"), call(4, "other", "a")];
    let all = recorded(&calls);
    let same = replay(&all);
    assert_eq!((same.differences(), same.records, same.findings()), (vec![], 4, 1));

    let only_calls = replay(&calls);
    assert!(
        matches!(&only_calls.differences()[..], [Difference::New(finding)] if finding.participants.len() == 3)
    );

    let only_findings: Vec<Record> =
        all.iter().filter(|record| record.finding().is_some()).cloned().collect();
    assert!(matches!(&replay(&only_findings).differences()[..], [Difference::Gone(_)]));

    // The last finding was lost, and the call before it says more now.
    let mut fewer = all.clone();
    fewer.retain(|record| record.finding().is_none_or(|finding| finding.participants.len() == 2));
    let [Difference::Changed { changes, .. }] = &replay(&fewer).differences()[..] else { panic!() };
    assert_eq!(changes, &["state open -> updated", "also /bin/c[109] in docker://h/c"]);
}

proptest! {
    /// The same records give the same answer, and their own findings are no difference.
    #[test]
    fn a_replay_of_what_was_recorded_finds_the_same(calls in prop::collection::vec((0..3u8, 0..4u8), 0..40)) {
        let calls: Vec<Record> = calls
            .into_iter()
            .enumerate()
            .map(|(seq, (key, place))| {
                call(seq as u64 + 1, &format!("k{key}"), ["a", "b", "c", "d"][usize::from(place)])
            })
            .collect();
        prop_assert_eq!(replay(&recorded(&calls)).differences(), vec![]);
    }
}
