//! Lines as people see them.

use proto::v1::*;

use super::*;
use crate::term::columns_of;

/// 2023-11-14T22:13:20.123Z.
const TIME: u64 = 1_700_000_000_123_456_789;

fn shown(term: Term, bodies: impl IntoIterator<Item = Body>) -> String {
    let mut out = Vec::new();
    let mut sink = Compact::new(&mut out, term, TimeZone::UTC);
    for body in bodies {
        sink.write(&Record::new(TIME, body)).unwrap();
    }
    sink.flush().unwrap();
    drop(sink);
    String::from_utf8(out).unwrap()
}

fn plain(body: Body) -> String {
    shown(Term::PLAIN, [body])
}

fn process() -> Process {
    Process {
        pid: 4242,
        exe: "/usr/bin/curl".into(),
        comm: "curl".into(),
        cgroup: "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope"
            .into(),
        ..Default::default()
    }
}

fn credential() -> Credential {
    Credential {
        fingerprint: "kw1-abcdefgh-ijklmnopqrstuvwxyz234567ab".into(),
        provider: "openai".into(),
        kind: "api_key".into(),
        hint: "sk-proj-…9XkQ".into(),
        evidence: "wire".into(),
        ..Default::default()
    }
}

fn call() -> ModelCall {
    ModelCall {
        binding: "client_random".into(),
        operation: "chat".into(),
        model_requested: "gpt-5".into(),
        model_served: "gpt-5-mini".into(),
        status: Some(200),
        tokens: Some(Tokens {
            input: Some(1204),
            output: Some(33),
            quality: "exact".into(),
            ..Default::default()
        }),
        duration_ms: Some(812),
        process: Some(process()),
        credential: Some(credential()),
        endpoint: Some(Endpoint { provider: "openai".into(), ..Default::default() }),
        ..Default::default()
    }
}

fn call_line(call: ModelCall) -> String {
    plain(Body::ModelCall(Box::new(call)))
}

#[test]
fn a_call_is_one_aligned_line() {
    let workload = Workload { kind: "systemd".into(), name: "billing.service".into(), ..Default::default() };
    let python = Process { pid: 7, exe: "/usr/bin/python3.11".into(), ..Default::default() };
    let second = ModelCall { process: Some(python), workload: Some(workload), status: Some(429), ..call() };
    let text = shown(Term::PLAIN, [call(), second].map(|call| Body::ModelCall(Box::new(call))));
    assert_eq!(
        text,
        "22:13:20.123 curl[4242]         docker-0123456789ab.scope openai/gpt-5-mini            chat        200 1204→33     sk-proj-…9XkQ #ijklmnop 812ms\n\
         22:13:20.123 python3.11[7]      systemd/billing.service openai/gpt-5-mini            chat        429 1204→33     sk-proj-…9XkQ #ijklmnop 812ms\n"
    );
}

#[test]
fn the_workload_is_named_by_what_tells_it_apart() {
    let shown = |kind: &str, name: &str, container: &str, cgroup: &str| {
        let workload = Workload {
            kind: kind.into(),
            name: name.into(),
            container: container.into(),
            unit: "docker-1.scope".into(),
            ..Default::default()
        };
        text::workload(Some(&workload), Some(&Process { cgroup: cgroup.into(), ..Default::default() }))
    };
    let id = "0123456789ab".repeat(5);
    assert_eq!(shown("container", "", &id, "/x"), "container/0123456789ab");
    assert_eq!(shown("systemd", "bot.service", "", "/system.slice/bot.service"), "systemd/bot.service");
    assert_eq!(shown("user", "curl", "", "/demo-billing"), "demo-billing");
    assert_eq!(shown("user", "curl", "", "/"), "user/curl");
    let rooted = Process { cgroup: "/".into(), ..Default::default() };
    assert_eq!((text::workload(None, Some(&rooted)), text::workload(None, None)), ("/".into(), "?".into()));
}

#[test]
fn the_quality_of_token_counts_is_marked() {
    for (quality, input, output, text) in [
        ("exact", Some(0), Some(5), " 0→5 "),
        ("header", Some(7), Some(5), " ~7→~5 "),
        ("truncated", Some(7), None, " ≥7→? "),
        ("unreported", None, None, " ? "),
    ] {
        let tokens = Tokens { input, output, quality: quality.into(), ..Default::default() };
        let line = call_line(ModelCall { tokens: Some(tokens), ..call() });
        assert!(line.contains(&format!("200{text}")), "{line}");
    }
}

#[test]
fn sessions_are_told_when_they_say_more_than_their_calls() {
    let line = |agent: &str, state: &str, calls, orphaned_calls| {
        plain(Body::Session(Box::new(Session {
            agent: agent.into(),
            state: state.into(),
            started: TIME,
            ended: TIME + 61_000_000_000,
            process: Some(process()),
            calls,
            orphaned_calls,
            tokens: Some(Tokens { input: Some(12), output: Some(3), ..Default::default() }),
            cost: Some(Cost { amount: "0.25".into(), basis: "list_price".into(), ..Default::default() }),
            ..Default::default()
        })))
    };
    assert!(line("codex", "started", 0, 0).ends_with(" session started codex\n"));
    let ended = line("codex", "ended", 2, 1);
    assert!(ended.ends_with(" session ended codex 1m01s 2 calls 12→3 $0.25 1 after its end\n"), "{ended}");
    assert!(line("", "ended", 2, 0).contains(" session ended 1m01s 2 calls"));
    for (agent, state, calls) in [("", "started", 0), ("", "ended", 1), ("codex", "ended", 0)] {
        assert_eq!(line(agent, state, calls, 0), "");
    }
}

#[test]
fn what_is_not_proven_is_said() {
    let line = call_line(ModelCall {
        binding: "unbound".into(),
        binding_reason: "layout not known".into(),
        incomplete_reason: "connection closed".into(),
        ..call()
    });
    assert!(line.ends_with(" unbound: layout not known incomplete: connection closed\n"), "{line}");
    let unknown = call_line(ModelCall::default());
    assert!(unknown.contains(" ? ") && unknown.contains("?/?") && unknown.contains("no key"), "{unknown}");
}

#[test]
fn no_field_can_control_the_terminal_or_forge_a_line() {
    let evil = "x\x1b[2J\n22:13 forged\u{202e}".to_owned();
    let process = Process { exe: format!("/tmp/{evil}"), cgroup: evil.clone(), ..process() };
    let credential = Credential { hint: evil.clone(), fingerprint: evil.clone(), ..credential() };
    let endpoint = Endpoint { provider: evil.clone(), host: evil.clone(), ..Default::default() };
    let workload = Workload { name: evil.clone(), kind: evil.clone(), ..Default::default() };
    let call = ModelCall {
        operation: evil.clone(),
        model_served: evil.clone(),
        binding: "unbound".into(),
        binding_reason: evil.clone(),
        incomplete_reason: evil.clone(),
        process: Some(process.clone()),
        credential: Some(credential.clone()),
        endpoint: Some(endpoint.clone()),
        ..call()
    };
    let tls = Tls { coverage: "none".into(), coverage_reason: evil.clone(), ..Default::default() };
    let flow = Flow {
        process: Some(process.clone()),
        workload: Some(workload.clone()),
        endpoint: Some(endpoint),
        tls: Some(tls),
        ..Default::default()
    };
    let finding = Finding {
        rule: evil.clone(),
        severity: evil.clone(),
        title: evil.clone(),
        state: evil.clone(),
        next_step: evil.clone(),
        credential: Some(credential),
        participants: vec![Participant {
            process: Some(process),
            workload: Some(workload),
            ..Default::default()
        }],
        ..Default::default()
    };
    let loss = Loss { kind: evil.clone(), cause: evil.clone(), count: 1 };
    let hook = HookState { name: evil.clone(), state: evil.clone(), lost: evil.clone(), reason: evil };
    let session = Session {
        agent: finding.rule.clone(),
        state: finding.rule.clone(),
        process: finding.participants[0].process.clone(),
        workload: finding.participants[0].workload.clone(),
        cost: Some(Cost { amount: finding.rule.clone(), ..Default::default() }),
        calls: 1,
        ..Default::default()
    };
    let status = Status {
        lost: vec![loss.clone()],
        skipped: vec![loss],
        hooks: vec![hook],
        last: true,
        ..Default::default()
    };
    for (body, lines) in [
        (Body::ModelCall(Box::new(call)), 1),
        (Body::Flow(Box::new(flow)), 1),
        (Body::Finding(finding), 7),
        (Body::Session(Box::new(session)), 1),
        (Body::Status(status), 1),
    ] {
        let text = plain(body);
        assert!(!text.chars().any(|char| char != '\n' && char.is_control()), "{text:?}");
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert_eq!(text.lines().count(), lines, "{text}");
    }
}

#[test]
fn a_line_never_takes_more_than_the_terminal_has() {
    for width in [1, 10, 40, 80, 100, 120, 160, 250] {
        for color in [false, true] {
            let term = Term { color, width: Some(width) };
            let name = |text: &str| Process {
                exe: format!("/bin/{}", text.repeat(40)),
                pid: 1,
                ..Default::default()
            };
            let calls = ["a", "日本", "é"].map(|text| ModelCall { process: Some(name(text)), ..call() });
            let text = shown(term, calls.map(|call| Body::ModelCall(Box::new(call))));
            for line in text.lines() {
                let mut visible = line.to_owned();
                while let Some((start, rest)) = visible.split_once('\x1b') {
                    visible = format!("{start}{}", rest.split_once('m').unwrap().1);
                }
                assert!(columns_of(&visible) <= width, "{width}: {visible}");
            }
            assert_eq!(text.lines().count(), 4, "titles and three calls");
        }
    }
}

#[test]
fn process_ids_survive_a_narrow_terminal() {
    let long = Process { exe: "/opt/a-very-long-program-name".into(), ..process() };
    let call = ModelCall { process: Some(long), ..call() };
    let text = shown(Term { color: false, width: Some(110) }, [Body::ModelCall(Box::new(call))]);
    assert!(text.contains("a-ver…[4242]"), "{text}");
}

#[test]
fn a_finding_is_a_block_with_everyone_in_it() {
    let participant = |exe: &str, pid, count| Participant {
        process: Some(Process { exe: exe.into(), pid, cgroup: format!("/demo-{pid}"), ..Default::default() }),
        count,
        last_seen: TIME,
        ..Default::default()
    };
    let finding = Finding {
        rule: "shared-credential".into(),
        severity: "high".into(),
        title: "One key is used by two workloads".into(),
        state: "open".into(),
        first_seen: TIME,
        last_seen: TIME,
        credential: Some(credential()),
        participants: vec![participant("/usr/bin/curl", 1, 12), participant("/usr/bin/python3", 2, 1)],
        next_step: "Give each workload a key of its own.".into(),
        ..Default::default()
    };
    assert_eq!(
        plain(Body::Finding(finding.clone())),
        "\n\
         !! HIGH shared-credential One key is used by two workloads\n\
         \x20  key      kw1-abcdefgh-ijklmnopqrstuvwxyz234567ab  sk-proj-…9XkQ  openai  api_key\n\
         \x20  used by  curl[1]  demo-1  12 calls, last 22:13:20.123\n\
         \x20           python3[2]  demo-2  1 call, last 22:13:20.123\n\
         \x20  seen     2023-11-14 22:13:20 to 2023-11-14 22:13:20\n\
         \x20  next     Give each workload a key of its own.\n\
         \n"
    );
    let coloured = shown(Term { color: true, width: None }, [Body::Finding(finding)]);
    assert!(coloured.contains("\x1b[1;31m!! HIGH\x1b[0m"), "{coloured:?}");
}

#[test]
fn only_flows_without_plaintext_are_told() {
    let flow = |coverage: &str| Flow {
        process: Some(process()),
        endpoint: Some(Endpoint {
            provider: "openai".into(),
            host: "api.openai.com".into(),
            port: 443,
            ..Default::default()
        }),
        tls: Some(Tls {
            coverage: coverage.into(),
            coverage_reason: "statically linked".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(plain(Body::Flow(Box::new(flow("plaintext")))), "");
    assert_eq!(plain(Body::Flow(Box::new(Flow { tls: None, ..flow("none") }))), "");
    assert_eq!(
        plain(Body::Flow(Box::new(flow("none")))),
        "22:13:20.123 curl[4242]         docker-0123456789ab.scope openai api.openai.com:443  no plaintext: statically linked\n"
    );
}

#[test]
fn the_sensor_speaks_of_itself_only_when_something_is_wrong_or_it_ends() {
    let loss = |count| Loss { kind: "tls".into(), cause: "buffer full".into(), count };
    let good = Status { produced: 10, delivered: 10, ..Default::default() };
    let lossy = Status { produced: 13, delivered: 10, lost: vec![loss(3)], ..Default::default() };
    let last =
        Status { last: true, calls: 2, calls_unbound: 1, flows: 4, flows_plaintext: 3, ..lossy.clone() };
    let wrong = Status { produced: 14, last: true, ..lossy.clone() };
    let text = shown(Term::PLAIN, [good.clone(), lossy.clone(), lossy, good, last].map(Body::Status));
    assert_eq!(
        text,
        "22:13:20.123 3 of 13 events lost (tls: buffer full 3)\n\
         22:13:20.123 2 calls (1 unbound), 4 flows (3 with plaintext); events: 13 produced = 10 delivered + 3 lost (tls: buffer full 3)\n"
    );
    assert!(plain(Body::Status(wrong)).contains("14 produced ≠ 10 delivered + 3 lost"));
    let hook = HookState {
        name: "kw_ingress".into(),
        state: "missing".into(),
        lost: "DNS names".into(),
        reason: "old kernel".into(),
    };
    let degraded = Status { hooks: vec![hook], ..Default::default() };
    let text = shown(Term::PLAIN, [degraded.clone(), degraded].map(Body::Status));
    assert_eq!(text, "22:13:20.123 kw_ingress is missing (old kernel): not seen are DNS names\n");
}

#[test]
fn only_an_unexpected_open_of_a_credential_file_is_shown() {
    let access = |expectation: &str, count| {
        Body::CredentialAccess(Box::new(CredentialAccess {
            process: Some(process()),
            file: Some(CredentialFile {
                path: "/root/.codex/auth.json".into(),
                client: "codex".into(),
                ..Default::default()
            }),
            expectation: expectation.into(),
            count,
            ..Default::default()
        }))
    };
    assert_eq!(plain(access("expected", 1)) + &plain(access("unknown", 1)), "");
    let shown = plain(access("unexpected", 3));
    assert!(
        shown.contains("4242") && shown.contains("file of codex, 3 times: /root/.codex/auth.json"),
        "{shown}"
    );
}
