use super::*;
use proto::v1::{Cost, Credential, ModelCall, Session, Tokens};

const S: u64 = 1_000_000_000;

fn root(pid: u32, agent: Option<&str>) -> Root {
    Root {
        key: ProcessKey { pid, start_ns: 1 },
        agent: agent.map(Into::into),
        process: v1::Process { pid, start_time: 77, ..Default::default() },
        ..Default::default()
    }
}

fn call(started: u64, client: &str) -> ModelCall {
    ModelCall {
        started,
        session_id: client.into(),
        tokens: Some(Tokens {
            input: Some(10),
            output: Some(1),
            quality: "exact".into(),
            ..Default::default()
        }),
        cost: Some(Cost { amount: "0.5".into(), basis: "list_price".into(), ..Default::default() }),
        credential: Some(Credential { fingerprint: format!("kw1-{client}"), ..Default::default() }),
        ..Default::default()
    }
}

/// Ends `root` and lets its end be told.
fn end(sessions: &mut Sessions, root: &mut Root, at: u64) -> Vec<Session> {
    root.ended = Some(at);
    sessions.exit(root.key, at, at);
    assert_eq!(sessions.due(at + SETTLE_NS - 1), []);
    sessions.due(at + SETTLE_NS)
}

#[test]
fn an_agents_session_is_told_at_start_and_end_with_its_sums() {
    let (mut sessions, mut agent) = (Sessions::default(), root(9, Some("codex")));
    let started = sessions.start(&agent, 0).unwrap();
    assert_eq!(
        (started.state.as_str(), started.agent.as_str(), started.id.as_str()),
        ("started", "codex", "9-77")
    );
    assert_eq!(sessions.start(&agent, 0), None);
    sessions.child(agent.key);
    for client in ["", "a"] {
        let (belongs, record) = sessions.call(&agent, &call(S, client), S);
        assert_eq!((belongs.session.as_str(), belongs.orphaned, record), ("9-77", false, None));
    }
    let ended = end(&mut sessions, &mut agent, 5 * S);
    assert_eq!(ended.len(), 1);
    let ended = &ended[0];
    assert_eq!((ended.state.as_str(), ended.ended, ended.calls, ended.children), ("ended", 5 * S, 2, 1));
    assert_eq!((ended.client_session_id.as_str(), ended.credentials.len()), ("a", 2));
    assert_eq!(ended.tokens.as_ref().unwrap().input, Some(20));
    assert_eq!(ended.cost.as_ref().unwrap().amount, "1");
}

#[test]
fn calls_of_survivors_are_orphaned_and_told_later() {
    let (mut sessions, mut agent) = (Sessions::default(), root(9, Some("codex")));
    sessions.start(&agent, 0);
    assert_eq!(end(&mut sessions, &mut agent, 5 * S)[0].calls, 0);
    // A call that was begun before the end is none of an orphan's.
    let (belongs, _) = sessions.call(&agent, &call(4 * S, ""), 8 * S);
    assert!(!belongs.orphaned);
    for _ in 0..3 {
        let (belongs, record) = sessions.call(&agent, &call(9 * S, ""), 9 * S);
        assert_eq!((belongs.session.as_str(), belongs.orphaned, record), ("9-77", true, None));
    }
    let again = sessions.due(8 * S + AGAIN_NS);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].calls, again[0].orphaned_calls, again[0].ended), (1, 3, 5 * S));
}

#[test]
fn further_sessions_of_a_client_stand_apart_and_end_with_the_root() {
    let (mut sessions, mut agent) = (Sessions::default(), root(9, Some("claude-code")));
    sessions.start(&agent, 0);
    let enter = |sessions: &mut Sessions, agent: &Root, client: &str| {
        let (belongs, record) = sessions.call(agent, &call(3 * S, client), 3 * S);
        (belongs.session, record.map(|record| record.client_session_id))
    };
    assert_eq!(enter(&mut sessions, &agent, "one"), ("9-77".into(), None));
    let (id, record) = enter(&mut sessions, &agent, "two");
    assert_eq!((id.as_str(), record.is_some()), ("9-77:two", true));
    assert_eq!(enter(&mut sessions, &agent, "two"), ("9-77:two".into(), None));
    assert_eq!(enter(&mut sessions, &agent, "").0, "9-77");
    // Another root that names the same session does not enter it.
    let other = root(10, Some("claude-code"));
    assert_eq!(enter(&mut sessions, &other, "two").0, "10-77");
    let ended: Vec<_> =
        end(&mut sessions, &mut agent, 5 * S).into_iter().map(|one| (one.id, one.calls)).collect();
    assert_eq!(ended, [("9-77".into(), 2), ("9-77:two".into(), 2)]);
    for number in 0..2 * MAX_CLIENT_SESSIONS {
        enter(&mut sessions, &other, &format!("s{number}"));
    }
    assert_eq!(sessions.of(other.key).len(), MAX_CLIENT_SESSIONS + 1);
}

#[test]
fn a_script_has_a_session_from_its_first_call_on() {
    let (mut sessions, mut script) = (Sessions::default(), root(9, None));
    let (belongs, record) = sessions.call(&script, &call(S, ""), S);
    assert_eq!((record.unwrap().state.as_str(), belongs.session.as_str()), ("started", "9-77"));
    let ended = end(&mut sessions, &mut script, 5 * S);
    assert_eq!((ended[0].calls, ended[0].agent.as_str()), (1, ""));
    assert!(sessions.is_empty(), "nothing of it is kept");
}

#[test]
fn a_root_whose_end_was_lost_does_not_stay() {
    let (mut sessions, script) = (Sessions::default(), root(9, None));
    sessions.call(&script, &call(S, ""), S);
    sessions.sweep(|_| false, 30 * S, 30 * S);
    sessions.sweep(|_| true, 90 * S, 90 * S);
    assert_eq!(sessions.due(90 * S), []);
    sessions.sweep(|_| false, 90 * S, 90 * S);
    let ended = sessions.due(90 * S);
    assert_eq!((ended.len(), ended[0].end_reason.as_str()), (1, UNSEEN));
}

#[test]
fn what_is_open_is_told_when_the_sensor_stops() {
    let mut sessions = Sessions::default();
    let (silent, open, mut ended) = (root(8, Some("a")), root(9, None), root(10, Some("b")));
    sessions.start(&silent, 0);
    sessions.start(&ended, 0);
    sessions.call(&open, &call(S, ""), S);
    ended.ended = Some(2 * S);
    sessions.exit(ended.key, 2 * S, 2 * S);
    let told: Vec<_> = sessions.finish().into_iter().map(|one| (one.id, one.state)).collect();
    assert_eq!(told, [("9-77".into(), "open".into()), ("10-77".into(), "ended".into())]);
    assert!(sessions.is_empty());
}

#[test]
fn the_table_is_bounded_and_calls_still_name_their_session() {
    let mut sessions = Sessions::default();
    for pid in 0..MAX_SESSIONS as u32 + 5 {
        let (belongs, _) = sessions.call(&root(pid, None), &call(S, ""), S);
        assert_eq!(belongs.session, format!("{pid}-77"));
    }
    assert_eq!((sessions.len(), sessions.refused), (MAX_SESSIONS, 5));
    // Ended ones of agents make room.
    let mut sessions = Sessions::default();
    for pid in 0..MAX_ENDED as u32 + 9 {
        let mut agent = root(pid, Some("codex"));
        sessions.start(&agent, 0);
        end(&mut sessions, &mut agent, 5 * S);
    }
    assert_eq!(sessions.len(), MAX_ENDED);
}
