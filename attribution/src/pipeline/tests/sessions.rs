//! Which session a call belongs to, and what it cost.

use proto::v1::{Session, record::Body};

use super::script::*;
use crate::event::{Event, ProcessKey};
use crate::session::SETTLE_NS;

fn sessions(told: &Told) -> Vec<Session> {
    let session = |record: proto::v1::Record| match record.body {
        Some(Body::Session(session)) => Some(*session),
        _ => None,
    };
    told.records().into_iter().filter_map(session).collect()
}

impl Script {
    fn fork(&mut self, parent: u32, child: u32) -> &mut Self {
        let time_ns = self.time();
        self.push(Event::Fork { time_ns, parent: key(parent), child: key(child) })
    }

    fn one_call(&mut self, pid: u32, cookie: u64) -> &mut Self {
        let client = Client::new(pid, cookie);
        self.hello(&client, Some(HOST)).call(&client, KEY, (1000, 100)).close(&client)
    }
}

#[test]
fn an_agents_children_belong_to_its_session_and_are_orphaned_after_it() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/codex").fork(9, 10).exec(10, 9, "/bin/sh").fork(10, 11);
    script.exec(11, 10, "/usr/bin/curl").one_call(11, 3).exit(11).fork(10, 12).exit(9);
    script.tick(SETTLE_NS + S);
    // The agent is long gone, its shell is not, and init is the parent of it now.
    for _ in 0..40 {
        script.tick(15 * S);
    }
    script.exec(12, 1, "/usr/bin/curl").one_call(12, 4).exit(12).tick(70 * S);
    let told = script.run();
    let calls = told.calls();
    let id = &calls[0].session;
    assert!(id.starts_with("9-"), "{id}");
    assert_eq!((&calls[1].session, calls[0].orphaned, calls[1].orphaned), (id, false, true));
    let ancestors: Vec<u32> =
        calls[1].process.as_ref().unwrap().ancestors.iter().map(|ancestor| ancestor.pid).collect();
    assert_eq!(ancestors, [10, 9]);
    let sessions = sessions(&told);
    let states: Vec<_> =
        sessions.iter().map(|one| (one.state.as_str(), one.calls, one.orphaned_calls)).collect();
    assert_eq!(states, [("started", 0, 0), ("ended", 1, 0), ("ended", 1, 1)]);
    assert!(sessions.iter().all(|one| one.id == *id && one.agent == "codex"));
    assert_eq!(
        (sessions[2].children, sessions[2].credentials.as_slice()),
        (3, [fingerprint(KEY)].as_slice())
    );
    assert_eq!(sessions[0].process.as_ref().unwrap().exe, "/usr/bin/codex");
}

#[test]
fn a_pid_used_again_is_another_session() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/codex").one_call(9, 3).exit(9).tick(SETTLE_NS + S);
    let mut next = Client::new(9, 4);
    next.task.process = ProcessKey { pid: 9, start_ns: 77 * S };
    script.hello(&next, Some(HOST)).call(&next, KEY, (1, 1));
    let calls = script.run().calls();
    assert_ne!(calls[0].session, calls[1].session);
    assert!(!calls[1].orphaned);
}

#[test]
fn workers_of_a_script_belong_together_and_a_tool_of_a_shell_stands_alone() {
    let mut script = Script::new();
    script.exec(8, 1, "/bin/bash").fork(8, 9).exec(9, 8, "/usr/bin/python3");
    script.fork(9, 10).fork(9, 11).one_call(10, 3).one_call(11, 4);
    script.fork(8, 12).exec(12, 8, "/usr/bin/curl").one_call(12, 5);
    let told = script.run();
    let ids: Vec<_> = told.calls().into_iter().map(|call| call.session).collect();
    assert!(ids[0].starts_with("9-") && ids[0] == ids[1] && ids[2].starts_with("12-"), "{ids:?}");
    assert_eq!(sessions(&told).len(), 2);
}

#[test]
fn an_agent_that_an_agent_starts_has_a_session_of_its_own_below_it() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/claude").fork(9, 10).exec(10, 9, "/usr/bin/codex").one_call(10, 3);
    let told = script.run();
    let sessions = sessions(&told);
    let agents: Vec<_> = sessions.iter().map(|one| one.agent.as_str()).collect();
    assert_eq!(agents, ["claude-code", "codex"]);
    assert_eq!((&sessions[1].parent, sessions[0].parent.as_str()), (&sessions[0].id, ""));
    assert_eq!(told.one_call().session, sessions[1].id);
}

#[test]
fn a_call_costs_its_list_price_and_a_model_without_one_is_counted() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/codex").one_call(9, 3);
    let told = script.run();
    // `gpt-4o-2024` is no name of a model that has a price.
    assert_eq!((told.one_call().cost, told.counts().unpriced_model), (None, 1));
    let client = Client::new(9, 4);
    let body = json((1000, 100)).replace("gpt-4o-2024", "gpt-4o-2024-11-20");
    let answer = response("Content-Type: application/json\r\n", body.as_bytes());
    script.hello(&client, Some(HOST)).write(&client, request(KEY, "gpt-4o")).read(&client, answer).exit(9);
    let told = script.tick(SETTLE_NS + S).run();
    let cost = told.calls().remove(1).cost.unwrap();
    assert_eq!((cost.amount.as_str(), cost.basis.as_str()), ("0.0035", "list_price"));
    assert_eq!(cost.price, "openai/gpt-4o");
    let ended = sessions(&told).pop().unwrap();
    assert_eq!((ended.cost.unwrap().amount.as_str(), ended.calls_without_cost), ("0.0035", 1));
}
