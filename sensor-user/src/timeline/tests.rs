use attribution::filter::Term;
use jiff::tz::TimeZone;
use proto::v1::{
    Ancestor, Credential, CredentialFile, Endpoint, Participant, Sensor, Tokens, Workload, record::Body,
};

use super::*;
use crate::term::Term as Terminal;

const S: u64 = 1_000_000_000;
const DAY: u64 = 1_700_000_000 * S;

fn process(pid: u32, parents: &[(u32, &str)]) -> Process {
    let ancestor = |(pid, exe): &(u32, &str)| Ancestor { pid: *pid, start_time: 1, exe: (*exe).into() };
    Process {
        pid,
        start_time: 1,
        exe: "/usr/bin/node".into(),
        ancestors: parents.iter().map(ancestor).collect(),
        ..Default::default()
    }
}

fn workload() -> Workload {
    Workload {
        id: "systemd://h/a<b>.service".into(),
        kind: "systemd".into(),
        name: "a<b>.service".into(),
        ..Default::default()
    }
}

fn record(seq: u64, at: u64, body: Body) -> anyhow::Result<Record> {
    let mut record = Record::new(DAY + at * S, body);
    record.sensor = Some(Sensor { host: "h".into(), boot_id: "b".into(), seq });
    Ok(record)
}

/// An agent that opens a key, makes two calls and ends, and somebody else's call with the same key.
fn incident() -> Vec<anyhow::Result<Record>> {
    let key = Credential { fingerprint: "kw1-abcd-q7k3xyz1234".into(), ..Default::default() };
    let call = |pid, session: &str, workload: Workload| {
        Body::ModelCall(Box::new(ModelCall {
            process: Some(process(pid, &[(10, "/usr/bin/claude"), (2, "/bin/bash")])),
            workload: Some(workload),
            session: session.into(),
            credential: Some(key.clone()),
            endpoint: Some(Endpoint { provider: "openai".into(), ..Default::default() }),
            model_served: "gpt-5".into(),
            status: Some(200),
            tokens: Some(Tokens { input: Some(10), output: Some(2), ..Default::default() }),
            ..Default::default()
        }))
    };
    let session = |state: &str, at: u64| {
        Body::Session(Box::new(Session {
            id: "s-1".into(),
            agent: "claude".into(),
            state: state.into(),
            started: DAY + S,
            ended: if state == "ended" { DAY + at * S } else { 0 },
            process: Some(process(10, &[])),
            calls: 2,
            ..Default::default()
        }))
    };
    let access = |pid| {
        Body::CredentialAccess(Box::new(CredentialAccess {
            process: Some(process(pid, &[(10, "/usr/bin/claude")])),
            workload: Some(workload()),
            file: Some(CredentialFile { path: "/root/.key".into(), ..Default::default() }),
            mode: "read".into(),
            credentials: vec![key.clone()],
            ..Default::default()
        }))
    };
    let finding = Body::Finding(Finding {
        rule: "shared-credential".into(),
        severity: "high".into(),
        title: "One key, two <workloads>".into(),
        last_seen: DAY + 5 * S,
        credential: Some(key.clone()),
        participants: vec![Participant { process: Some(process(99, &[])), ..Default::default() }],
        ..Default::default()
    });
    let other = Workload {
        id: "docker://h/web".into(),
        kind: "docker".into(),
        name: "web".into(),
        ..Default::default()
    };
    vec![
        record(1, 1, session("started", 0)),
        record(2, 2, access(11)),
        // Written when it ended, begun before the next.
        record(5, 3, call(11, "s-1", workload())),
        record(4, 4, call(11, "s-1", workload())),
        record(6, 5, call(99, "", other)),
        record(7, 5, finding),
        record(8, 6, session("ended", 6)),
        Err(anyhow::anyhow!("a bad line")),
        record(9, 7, Body::Status(Default::default())),
    ]
}

fn collect(field: Field, value: &str) -> (Timeline, usize) {
    let term = Term { field, value: value.into(), not: false };
    let filter = Filter { terms: vec![term], ..Default::default() };
    let mut bad = 0;
    let timeline = Timeline::collect(&filter, incident().into_iter(), |_| bad += 1);
    (timeline, bad)
}

fn names(timeline: &Timeline) -> Vec<&'static str> {
    timeline.events.iter().map(|event| event.what.name()).collect()
}

#[test]
fn a_key_is_followed_through_everything_that_touched_it() {
    let (timeline, bad) = collect(Field::Key, "#q7k3");
    assert_eq!(names(&timeline), ["credential opened", "call", "call", "call", "finding"]);
    assert_eq!(bad, 1);
    let uses: Vec<_> =
        timeline.uses.iter().map(|(pair, used)| (pair.workload.as_str(), used.calls, used.tokens)).collect();
    assert_eq!(uses, [("docker://h/web", 1, 12), ("systemd://h/a<b>.service", 2, 24)]);
}

#[test]
fn a_session_is_told_from_start_to_end_with_what_its_family_opened() {
    let (timeline, _) = collect(Field::Session, "s-1");
    assert_eq!(names(&timeline), ["session started", "credential opened", "call", "call", "session ended"]);
    assert_eq!(timeline.events[2].lineage, "bash → claude → node[11]");
    assert_eq!(timeline.events[2].evidence, "h#5");
    assert_eq!(timeline.events[4].detail, "claude, 2 calls");
}

#[test]
fn the_terminal_form_has_a_line_for_each_and_lineage_once() {
    let (timeline, _) = collect(Field::Session, "s-1");
    let mut out = Vec::new();
    terminal::print(&timeline, &Terminal::PLAIN, &TimeZone::UTC, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("2023-11-14\n22:13:21.000 session started   node[10]"), "{text}");
    assert_eq!(text.matches("bash → claude → node[11]").count(), 1, "{text}");
    assert!(text.contains("openai/gpt-5 200 10→2 tokens #q7k3xyz1 h#5"), "{text}");
    assert!(text.ends_with("kw1-abcd-q7k3xyz1234 → systemd://h/a<b>.service 2 calls, 24 tokens\n"), "{text}");
}

#[test]
fn the_page_needs_nothing_else_and_no_text_becomes_markup() {
    let (timeline, _) = collect(Field::Key, "q7k3");
    let mut out = Vec::new();
    html::write(&timeline, "key <x>", &TimeZone::UTC, &mut out).unwrap();
    let page = String::from_utf8(out).unwrap();
    for absent in ["http://", "https://", "src=", "href=", "<script", "url(", "<b>", "<workloads>", "<x>"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert_eq!(page.matches("<path ").count(), 2);
    assert!(page.contains("stroke-width=\"14\"") && page.contains("a&#60;b&#62;.service"));
    assert_eq!(page.matches("<tr class=").count(), 5);
}
