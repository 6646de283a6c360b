use proptest::prelude::*;
use proto::v1::{
    Cost, Credential, Endpoint, Finding, ModelCall, Participant, Process, Record, Sensor, Session, Status,
    Workload, record::Body,
};

use super::{pattern, *};

fn workload() -> Workload {
    Workload {
        id: "k8s://prod/shop/deployment/web".into(),
        kind: "k8s".into(),
        namespace: "shop".into(),
        name: "web".into(),
        pod: "web-7c9-x".into(),
        container: "app".into(),
        instance: "0123abcd".into(),
        unit: "web.service".into(),
        ..Default::default()
    }
}

fn process() -> Process {
    Process { pid: 4242, exe: "/usr/bin/python3.11".into(), comm: "worker".into(), ..Default::default() }
}

fn call() -> Record {
    let call = ModelCall {
        model_requested: "gpt-5".into(),
        model_served: "gpt-5-2026".into(),
        process: Some(process()),
        workload: Some(workload()),
        credential: Some(Credential {
            fingerprint: "kw1-abcd-q7k3xyz".into(),
            provider: "openai".into(),
            ..Default::default()
        }),
        endpoint: Some(Endpoint { provider: "openai".into(), ..Default::default() }),
        session: "s-1".into(),
        cost: Some(Cost { amount: "0.0125".into(), ..Default::default() }),
        ..Default::default()
    };
    let mut record = Record::new(1_000, Body::ModelCall(Box::new(call)));
    record.sensor = Some(Sensor { host: "node-1".into(), boot_id: "b".into(), seq: 7 });
    record
}

fn finding() -> Record {
    let finding = Finding {
        id: "shared-credential:kw1-abcd-q7k3xyz".into(),
        rule: "shared-credential".into(),
        credential: Some(Credential { fingerprint: "kw1-abcd-q7k3xyz".into(), ..Default::default() }),
        participants: vec![Participant {
            process: Some(process()),
            workload: Some(workload()),
            ..Default::default()
        }],
        ..Default::default()
    };
    Record::new(2_000, Body::Finding(finding))
}

fn session() -> Record {
    let session = Session {
        id: "s-1".into(),
        client_session_id: "client-9".into(),
        credentials: vec!["kw1-abcd-q7k3xyz".into()],
        ..Default::default()
    };
    Record::new(3_000, Body::Session(Box::new(session)))
}

fn status() -> Record {
    Record::new(4_000, Body::Status(Status::default()))
}

fn all() -> [Record; 4] {
    [call(), finding(), session(), status()]
}

/// `!` before the name negates.
fn filter(terms: &[(&str, &str)]) -> Filter {
    let term = |(name, value): &(&str, &str)| {
        let (not, name) = name.strip_prefix('!').map_or((false, *name), |name| (true, name));
        let row = FIELDS.iter().find(|row| row.name == name).unwrap();
        Term { field: row.field, value: (*value).to_owned(), not }
    };
    let filter = Filter { terms: terms.iter().map(term).collect(), ..Default::default() };
    filter.check().unwrap();
    filter
}

/// Which of the call, the finding, the session and the status match.
fn shown(terms: &[(&str, &str)]) -> String {
    let filter = filter(terms);
    let marks =
        all().into_iter().zip("CFSx".chars()).filter(|(record, _)| filter.matches(record)).map(|(_, m)| m);
    marks.collect()
}

#[test]
fn every_field_has_one_row() {
    for row in FIELDS {
        assert!(std::ptr::eq(row.field.row(), row), "{}", row.name);
    }
}

#[test]
fn each_field_matches_what_it_names() {
    for (field, value, expected) in [
        ("key", "kw1-abcd-q7k3xyz", "CFS"),
        ("key", "kw1-abcd-q7", "CFS"),
        ("key", "#q7k3", "CFS"),
        ("key", "q7k3", "CFS"),
        ("key", "#k3", ""),
        ("key", "kw1-x", ""),
        ("workload", "k8s://prod/shop", "CF"),
        ("workload", "web", "CF"),
        ("workload", "*/deployment/*", "CF"),
        ("workload", "we", ""),
        ("namespace", "shop", "CF"),
        ("pod", "web-7", "CF"),
        ("pod", "shop/web", "CF"),
        ("pod", "other/web", ""),
        ("container", "app", "CF"),
        ("container", "0123", "CF"),
        ("unit", "web", "CF"),
        ("unit", "web.service", "CF"),
        ("unit", "we", ""),
        ("process", "4242", "CF"),
        ("process", "424", ""),
        ("process", "python3.11", "CF"),
        ("process", "/usr/bin/python*", "CF"),
        ("process", "worker", "CF"),
        ("provider", "openai", "C"),
        ("model", "gpt-5", "C"),
        ("model", "gpt-5-2026", "C"),
        ("model", "gpt-6", ""),
        ("kind", "status", "x"),
        ("session", "s-1", "CS"),
        ("session", "client-", "S"),
        ("finding", "shared-credential", "F"),
        ("finding", "*", "F"),
        ("min-cost", "0.0125", "C"),
        ("min-cost", ".01", "C"),
        ("min-cost", "0.0126", ""),
        ("host", "node-*", "C"),
    ] {
        assert_eq!(shown(&[(field, value)]), expected, "--{field} {value}");
    }
}

#[test]
fn values_of_a_field_are_alternatives_and_fields_all_have_to_hold() {
    assert_eq!(shown(&[]), "CFSx");
    assert_eq!(shown(&[("kind", "status"), ("kind", "session")]), "Sx");
    assert_eq!(shown(&[("kind", "status"), ("key", "q7")]), "");
    assert_eq!(shown(&[("!kind", "status")]), "CFS");
    assert_eq!(shown(&[("!kind", "status"), ("!kind", "session")]), "CF");
    assert_eq!(shown(&[("key", "q7"), ("!model", "gpt-5")]), "FS");
}

#[test]
fn times_are_from_the_first_and_before_the_last() {
    let times = |since, until| {
        let filter = Filter { since, until, ..Default::default() };
        all().iter().filter(|record| filter.matches(record)).map(|record| record.time).collect::<Vec<_>>()
    };
    assert_eq!(times(0, 0), [1_000, 2_000, 3_000, 4_000]);
    assert_eq!(times(2_000, 4_000), [2_000, 3_000]);
    let filter = Filter { since: 2_000, until: 4_000, ..Default::default() };
    assert!(filter.overlaps(0, 2_000) && filter.overlaps(3_999, 9_000));
    assert!(!filter.overlaps(0, 1_999) && !filter.overlaps(4_000, 9_000));
}

#[test]
fn values_that_cannot_match_are_refused() {
    let refused = |name: &str, value: &str| {
        let field = FIELDS.iter().find(|row| row.name == name).unwrap().field;
        let term = Term { field, value: value.to_owned(), not: false };
        Filter { terms: vec![term], ..Default::default() }.check().unwrap_err().to_string()
    };
    assert!(refused("kind", "call").contains("not one of flow"));
    assert!(refused("min-cost", "much").contains("not an amount"));
    assert!(refused("model", "").contains("1 to 512"));
    assert!(refused("model", &"x".repeat(513)).contains("1 to 512"));
    let many = vec![Term { field: Field::Kind, value: "flow".to_owned(), not: false }; 257];
    assert_eq!(Filter { terms: many, ..Default::default() }.check(), Err(FilterError::TooMany));
}

#[test]
fn it_travels_as_json() {
    let there = filter(&[("key", "kw1-a"), ("!min-cost", "1")]);
    let json = serde_json::to_string(&there).unwrap();
    assert_eq!(
        json,
        r#"{"since":0,"until":0,"terms":[{"field":"key","value":"kw1-a"},{"field":"min_cost","value":"1","not":true}]}"#
    );
    assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), there);
    assert!(serde_json::from_str::<Filter>(r#"{"terms":[{"field":"shell","value":"x"}]}"#).is_err());
}

#[test]
fn stars_stand_for_anything() {
    for (text, is) in [("a", false), ("ab", true), ("axxb", true), ("axb!", false)] {
        assert_eq!(pattern::whole("a*b", text), is, "{text}");
    }
    assert!(pattern::whole("*", "") && pattern::whole("a*b*c", "a1b2b3c") && !pattern::whole("ab*ba", "aba"));
}

proptest! {
    /// A record that matches is never passed over by its JSON.
    #[test]
    fn the_prefilter_lets_every_match_through(
        terms in prop::collection::vec((0..FIELDS.len(), 0..9usize, any::<bool>()), 0..4)
    ) {
        let values = [
            "*", "kw1-abcd-q7k3xyz", "#q7", "shop/web", "web*", "4242", "gpt-5", "shared-credential", "s-1",
        ];
        let terms = terms.into_iter().map(|(at, value, not)| Term {
            field: FIELDS[at].field,
            value: values[value].to_owned(),
            not,
        });
        let filter = Filter { terms: terms.collect(), ..Default::default() };
        for record in all() {
            let line = serde_json::to_vec(&record).unwrap();
            if filter.matches(&record) {
                prop_assert!(filter.prefilter().may_match(&line), "{filter:?}");
            }
        }
    }

    /// The pattern and its needle agree on any text.
    #[test]
    fn a_needle_is_in_every_match(pattern in "[ab*/é]{0,6}", text in "[ab/é]{0,8}") {
        if pattern::start(&pattern, &text) && let Some(needle) = pattern::needle(&pattern) {
            prop_assert!(text.contains(needle));
        }
    }
}
