//! Any order within the lateness bound, any repetition and any parts of the same records give the same findings.
//!
//! Compared are the findings in force after the last record: id, rule, severity, title, participants with their
//! evidence, first and last time, count. What was told on the way may differ in number.

#![expect(clippy::unwrap_used, reason = "a test may fail at once")]

use std::sync::Arc;

use attribution::{
    detect::{Detector, LATENESS_NS},
    policy::Policy,
};
use proptest::prelude::*;
use proto::v1::{
    Ancestor, Cost, Credential, Endpoint, Finding, Flow, ModelCall, Process, Record, Sensor, Tls, Tokens,
    Workload, record::Body,
};

const START: u64 = 20_522 * 86_400_000_000_000;

const POLICY: &str = "
[[environment]]
name = 'production'
hosts = ['h0']
[[environment]]
name = 'test'
hosts = ['h1']
[[entitlement]]
label = 'bot'
fingerprint = 'kw1-k-0'
workloads = ['systemd://h0/**']
environment = 'production'
models = ['m0']
budget = [{ per = 'day', tokens = 2000 }, { per = 'session', calls = 5 }]
[[budget]]
label = 'all'
workloads = ['**']
per = 'month'
usd = 0.5
[rules.runaway-loop]
failed_calls = 5
same_calls = 5
[rules.new-endpoint]
learning_days = 0
";

fn record(seq: u64, (time, place, run, key, model): (u64, u8, u32, u8, u8), tokens: u64) -> Record {
    let host = format!("h{}", place % 2);
    let (id, kind, cgroup) = match place / 2 {
        0 => (format!("systemd://{host}/a.service"), "systemd", "/a".to_owned()),
        1 => (format!("systemd://{host}/b.service"), "systemd", "/b".to_owned()),
        2 => (format!("user://{host}/0/x"), "user", format!("/jobs/{place}")),
        _ => ("k8s://c/ns/deployment/d".to_owned(), "k8s", "/k".to_owned()),
    };
    let process = Process {
        pid: 100 + run,
        start_time: START,
        exe: format!("/bin/agent-{}", run % 2),
        uid: Some(0),
        cgroup,
        ancestors: vec![Ancestor { pid: 10 + run % 3, start_time: START, exe: String::new() }],
        ..Process::default()
    };
    let call = ModelCall {
        flow_id: format!("{}", run % 4),
        model_requested: format!("m{model}"),
        status: Some(if tokens.is_multiple_of(3) { 500 } else { 200 }),
        tokens: Some(Tokens { input: Some(tokens), ..Tokens::default() }),
        cost: Some(Cost { amount: format!("0.{tokens:03}"), ..Cost::default() }),
        session: if run % 2 == 0 { format!("s{run}") } else { String::new() },
        orphaned: tokens == 7,
        binding: if tokens.is_multiple_of(5) { "cleartext" } else { "client_random" }.into(),
        process: Some(process),
        workload: Some(Workload { id, kind: kind.into(), ..Workload::default() }),
        credential: Some(Credential {
            fingerprint: format!("kw1-k-{key}"),
            provider: "openai".into(),
            lifetime: if tokens.is_multiple_of(2) { "static" } else { "" }.into(),
            ..Credential::default()
        }),
        endpoint: Some(Endpoint {
            provider: if model == 3 { "groq" } else { "openai" }.into(),
            host: format!("host-{model}"),
            host_evidence: if tokens.is_multiple_of(4) { "sni" } else { "http_host" }.into(),
            address: "192.0.2.1".into(),
            request_host: if tokens.is_multiple_of(5) { format!("asked-{model}") } else { String::new() },
            dns_host: if tokens.is_multiple_of(3) { format!("dns-{model}") } else { String::new() },
            ..Endpoint::default()
        }),
        ..ModelCall::default()
    };
    let mut record = Record::new(START + time, Body::ModelCall(Box::new(call)));
    record.sensor = Some(Sensor { host, boot_id: "b".into(), seq });
    record
}

/// The connection of a call, at its end.
fn closed(record: &Record, seq: u64) -> Record {
    let call = record.model_call().cloned().unwrap_or_default();
    let coverage = if seq.is_multiple_of(3) { "none" } else { "plaintext" };
    let flow = Flow {
        id: call.flow_id,
        endpoint: call.endpoint,
        process: call.process,
        workload: call.workload,
        tls: Some(Tls { coverage: coverage.into(), coverage_reason: "why".into(), ..Tls::default() }),
        ..Flow::default()
    };
    Record { body: Some(Body::Flow(Box::new(flow))), ..record.clone() }
}

/// Records in an order of time, within the bound, and a disorder of them.
fn records() -> impl Strategy<Value = (Vec<Record>, Vec<Record>)> {
    records_of((0..LATENESS_NS, 0..8u8, 0..6u32, 0..3u8, 0..4u8), 120)
}

/// Records of few that call again and again.
fn many_records_of_few() -> impl Strategy<Value = (Vec<Record>, Vec<Record>)> {
    records_of((0..LATENESS_NS / 4, 0..2u8, 0..2u32, 0..1u8, 0..2u8), 400)
}

fn records_of(
    one: impl Strategy<Value = (u64, u8, u32, u8, u8)>,
    most: usize,
) -> impl Strategy<Value = (Vec<Record>, Vec<Record>)> {
    prop::collection::vec((one, 0..40u64), 1..most).prop_flat_map(|mut all| {
        all.sort_unstable();
        let records: Vec<Record> = (0..)
            .zip(all)
            .map(|(seq, (what, tokens))| {
                let call = record(seq, what, tokens);
                if seq % 5 == 4 { closed(&call, seq) } else { call }
            })
            .collect();
        (Just(records.clone()), Just(records).prop_shuffle())
    })
}

fn detector() -> Detector {
    let policy = Policy::parse(POLICY, &mut |_| Err(String::new())).unwrap();
    Detector::new(Arc::new(policy))
}

fn found(records: &[Record]) -> Vec<Finding> {
    let mut detector = detector();
    records.iter().for_each(|record| drop(detector.record(record)));
    detector.findings()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_repetition_and_parts_do_not_matter(
        (records, shuffled) in records(),
        cuts in prop::collection::vec(0..4usize, 120),
    ) {
        let once = found(&records);
        prop_assert_eq!(&found(&shuffled), &once);
        prop_assert_eq!(&found(&[shuffled.clone(), records.clone()].concat()), &once);
        let mut parts = [detector(), detector(), detector(), detector()];
        for (record, part) in shuffled.iter().zip(cuts) {
            parts[part].record(record);
            parts[part].record(record);
        }
        let [mut whole, one, mut two, three] = parts;
        two.merge(three);
        prop_assert_eq!((whole.merge(two), whole.merge(one)), (0, 0));
        prop_assert_eq!(&whole.findings(), &once);
    }

    #[test]
    fn what_is_added_up_comes_to_the_same_in_any_order(
        (records, shuffled) in many_records_of_few(),
        cuts in prop::collection::vec(0..2usize, 400),
    ) {
        let once = found(&records);
        prop_assert_eq!(&found(&shuffled), &once);
        let mut parts = [detector(), detector()];
        for (record, part) in records.iter().zip(cuts) {
            parts[part].record(record);
        }
        let [mut whole, other] = parts;
        prop_assert_eq!(whole.merge(other), 0);
        prop_assert_eq!(whole.consumption(), {
            let mut all = detector();
            shuffled.iter().for_each(|record| drop(all.record(record)));
            all.consumption()
        });
        prop_assert_eq!(&whole.findings(), &once);
    }

    #[test]
    fn a_record_that_both_parts_had_is_noticed((records, _) in records()) {
        let mut one = detector();
        let mut two = detector();
        records.iter().for_each(|record| drop(one.record(record)));
        two.record(&records[0]);
        prop_assert_eq!(one.merge(two), 1);
    }

    #[test]
    fn a_changed_policy_leads_where_it_would_have_led_from_the_start((records, _) in records()) {
        let mut changed = Detector::new(Arc::default());
        records.iter().for_each(|record| drop(changed.record(record)));
        changed.set_policy(detector().policy().clone());
        prop_assert_eq!(&changed.findings(), &found(&records));
    }
}
