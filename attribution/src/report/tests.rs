use proto::v1::*;

use super::*;
use proto::v1::record::Body;

fn record(time: u64, body: Body) -> Record {
    let sensor = Sensor { host: "h".into(), ..Default::default() };
    Record { sensor: Some(sensor), ..Record::new(time, body) }
}

fn call(workload: &str, key: &str, session: &str, amount: &str) -> ModelCall {
    ModelCall {
        flow_id: "f1".into(),
        binding: "client_random".into(),
        model_served: "gpt-4o".into(),
        session: session.into(),
        process: Some(Process { exe: "/usr/bin/agent".into(), ..Default::default() }),
        workload: Some(Workload { id: workload.into(), ..Default::default() }),
        endpoint: Some(Endpoint { provider: "openai".into(), ..Default::default() }),
        credential: Some(Credential {
            fingerprint: key.into(),
            hint: format!("sk-…{key}"),
            origin: Some(Origin { r#type: "file".into(), path: "/key".into(), ..Default::default() }),
            ..Default::default()
        }),
        tokens: Some(Tokens { input: Some(10), output: Some(2), ..Default::default() }),
        cost: Some(Cost { amount: amount.into(), basis: "list_price".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn calls() -> Vec<Record> {
    [("w1", "k1", "s1", "0.5"), ("w2", "k1", "s1", "0.25"), ("w2", "k2", "s2", "2")]
        .into_iter()
        .zip(1..)
        .map(|((workload, key, session, amount), time)| {
            record(time, Body::ModelCall(Box::new(call(workload, key, session, amount))))
        })
        .collect()
}

#[test]
fn keys_list_their_owners_origins_times_and_sums() {
    let mut report = KeysReport::default();
    calls().iter().for_each(|record| report.record(record));
    let file = CredentialFile { path: "/other".into(), ..Default::default() };
    let held = Credential { fingerprint: "k3".into(), ..Default::default() };
    let access = CredentialAccess { file: Some(file), credentials: vec![held], ..Default::default() };
    report.record(&record(9, Body::CredentialAccess(Box::new(access))));
    let rows = report.rows();
    let names: Vec<_> =
        rows.iter().map(|row| (row.fingerprint.as_str(), row.shared, row.total.calls)).collect();
    assert_eq!(names, [("k2", false, 1), ("k1", true, 2), ("k3", false, 0)]);
    let key = &rows[1];
    assert_eq!(key.workloads.names.iter().collect::<Vec<_>>(), ["w1", "w2"]);
    assert_eq!((key.total.dollars().as_str(), key.seen), ("0.75", Seen { first: 1, last: 2 }));
    assert_eq!(key.origins.names.first().map(String::as_str), Some("/key"));
    assert_eq!(rows[2].origins.names.first().map(String::as_str), Some("/other"));
}

#[test]
fn costs_add_up_in_every_direction() {
    for (by, expected) in [
        (By::Workload, vec![("w2", "2.25"), ("w1", "0.5")]),
        (By::Key, vec![("k2", "2"), ("k1", "0.75")]),
        (By::Model, vec![("openai/gpt-4o", "2.75")]),
        (By::Session, vec![("s2", "2"), ("s1", "0.75")]),
    ] {
        let mut report = CostReport::new(by);
        let session = Session { id: "s1".into(), agent: "codex".into(), ..Default::default() };
        report.record(&record(1, Body::Session(Box::new(session))));
        calls().iter().for_each(|record| report.record(record));
        let (rows, total) = report.rows();
        let sums: Vec<_> = rows.iter().map(|row| (row.name.clone(), row.total.dollars())).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(name, sum)| (name.to_owned(), sum.to_owned())).collect();
        assert_eq!(sums, expected, "{by:?}");
        assert_eq!((total.calls, total.dollars().as_str(), total.input), (3, "2.75", Some(30)));
        assert_eq!(by == By::Session, rows.iter().any(|row| row.detail == "codex"));
    }
}

#[test]
fn sessions_have_the_newest_record_and_the_sums_that_know_more() {
    let mut report = SessionsReport::default();
    let session = |state: &str, ended, calls| {
        let cost = Cost { amount: "7".into(), ..Default::default() };
        record(
            5,
            Body::Session(Box::new(Session {
                id: "s1".into(),
                agent: "codex".into(),
                state: state.into(),
                started: 3,
                ended,
                calls,
                cost: (calls > 0).then_some(cost),
                ..Default::default()
            })),
        )
    };
    report.record(&session("ended", 9, 5));
    calls().iter().for_each(|record| report.record(record));
    let mut orphan = call("w2", "k2", "s2", "1");
    orphan.orphaned = true;
    report.record(&record(9, Body::ModelCall(Box::new(orphan))));
    report.record(&session("started", 0, 0));
    let rows = report.rows();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.session.id.as_str(),
                row.session.state.as_str(),
                row.calls(),
                row.dollars(),
                row.orphaned_calls(),
            )
        })
        .collect();
    assert_eq!(told, [("s2", "", 1, "2".into(), 1), ("s1", "ended", 5, "7".into(), 0)]);
}

#[test]
fn coverage_counts_each_join_and_bytes_by_executable() {
    let mut report = CoverageReport::default();
    calls().iter().for_each(|record| report.record(record));
    let mut bare = call("", "", "", "");
    (bare.credential, bare.flow_id, bare.binding) = (None, String::new(), "unbound".into());
    bare.binding_reason = "not seen".into();
    report.record(&record(4, Body::ModelCall(Box::new(bare))));
    let mut orphan = call("w1", "k1", "s1", "1");
    orphan.orphaned = true;
    report.record(&record(5, Body::ModelCall(Box::new(orphan))));
    let ended = Session { id: "s1".into(), state: "ended".into(), ..Default::default() };
    report.record(&record(6, Body::Session(Box::new(ended))));
    let flow = |id: &str, coverage: &str, reason: &str| {
        let tls = Tls {
            library: "libssl.so.3".into(),
            coverage: coverage.into(),
            coverage_reason: reason.into(),
            ..Default::default()
        };
        Body::Flow(Box::new(Flow {
            id: id.into(),
            process: Some(Process { exe: "/usr/bin/agent".into(), ..Default::default() }),
            bytes_sent: Some(100),
            bytes_received: Some(11),
            tls: Some(tls),
            ..Default::default()
        }))
    };
    report.record(&record(7, flow("f1", "plaintext", "")));
    report.record(&record(8, flow("f2", "none", "http/2")));
    let (joins, rows) = report.rows();
    let expected = Joins {
        calls: 5,
        identity: 4,
        credential: 4,
        credential_scope: 4,
        session_closed: 2,
        session_open: 1,
        session_orphaned: 1,
        governed: 3,
    };
    assert_eq!(joins, expected);
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.coverage.as_str(), row.method.as_str(), row.reason.as_str(), row.calls, row.bytes))
        .collect();
    let expected = [
        ("plaintext", "client_random", "", 4, 111),
        ("plaintext", "unbound", "not seen", 1, 0),
        ("none", "", "http/2", 0, 111),
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_finds_no_row_is_summed_up_in_one() {
    let mut report = CostReport::new(By::Workload);
    for number in 0..MAX_ROWS + 3 {
        report.record(&record(1, Body::ModelCall(Box::new(call(&format!("w{number}"), "k", "s", "1")))));
    }
    let (rows, total) = report.rows();
    assert_eq!((rows.len(), total.calls), (MAX_ROWS + 1, MAX_ROWS as u64 + 3));
    let others = rows.iter().find(|row| row.name == OTHERS).unwrap();
    assert_eq!((others.total.calls, others.total.dollars().as_str()), (3, "3"));
    let mut names = Names::default();
    (0..MAX_NAMES + 2).for_each(|number| names.add(&number.to_string()));
    assert_eq!((names.names.len(), names.more), (MAX_NAMES, 2));
}
