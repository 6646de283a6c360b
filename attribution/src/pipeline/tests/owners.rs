//! Who made a call, and who did not.

use super::script::*;
use crate::event::{Event, ProcessKey, TlsLibrary};

#[test]
fn an_unbound_call_says_so_and_names_no_flow() {
    for by_random in [true, false] {
        let mut script = Script::new();
        let client = Client::new(9, 3).unbound(by_random);
        let told = script.exec(9, 1, "/usr/bin/agent").call(&client, KEY, (1, 1)).run();
        let call = told.one_call();
        assert_eq!((call.binding.as_str(), call.flow_id.as_str(), call.source), ("unbound", "", None));
        assert_ne!(call.binding_reason, "");
        assert_eq!(call.process.unwrap().pid, 9);
        assert_eq!(call.endpoint.unwrap().address, "");
        assert_eq!(told.counts().calls_unbound, 1);
        let told = script.exit(9).run();
        assert_eq!(told.counts().connections, 0);
    }
}

#[test]
fn a_reused_tls_object_never_gives_its_answer_to_the_call_before() {
    let mut script = Script::new();
    let client = Client::new(9, 3).unbound(false);
    let cut = answer((666, 666));
    script.exec(9, 1, "/usr/bin/agent");
    script.write(&client, request(KEY, "first")).read(&client, &cut[..cut.len() - 60]);
    let calls =
        script.write(&client, request(OTHER_KEY, "second")).read(&client, answer((3, 4))).run().calls();
    assert_eq!((calls[0].model_requested.as_str(), calls[1].model_requested.as_str()), ("first", "second"));
    assert_ne!(calls[0].incomplete_reason, "");
    assert_eq!(calls[0].tokens.as_ref().unwrap().quality, "truncated");
    assert_eq!(calls[1].credential.as_ref().unwrap().fingerprint, fingerprint(OTHER_KEY));
    assert_eq!(calls[1].tokens.as_ref().unwrap().input, Some(3));
}

#[test]
fn a_tls_object_that_went_elsewhere_may_carry_a_call_later() {
    let mut script = Script::new();
    let client = Client::new(9, 3).unbound(false);
    script.exec(9, 1, "/usr/bin/agent");
    script.write(&client, request_to("www.keywitness.test", "/", KEY, "m"));
    assert!(script.run().verdicts().is_empty());
    assert_eq!(script.call(&client, KEY, (1, 1)).run().calls().len(), 1);
}

#[test]
fn a_tls_object_of_a_dead_process_is_not_its_successors() {
    let mut script = Script::new();
    let client = Client::new(9, 3).unbound(false);
    script.exec(9, 1, "/usr/bin/agent").write(&client, request(KEY, "m"));
    let mut next = client.clone();
    next.task.process.start_ns += S;
    let calls = script.read(&next, answer((1, 1))).run().calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].tokens.as_ref().unwrap().quality, "unreported");
    assert_ne!(calls[0].incomplete_reason, "");
}

#[test]
fn a_random_that_looks_like_another_name_reaches_no_foreign_connection() {
    let mut script = Script::new();
    let victim = Client::new(9, 3).to(CONFIGURED);
    script.exec(9, 1, "/usr/bin/agent").exec(20, 1, "/usr/bin/evil");
    script.payload(&victim, crate::event::Shape::Http, &request_to("llm", "/v1/chat/completions", KEY, "m"));
    let mut evil = Client::new(20, 4).unbound(true);
    evil.handle = [0; 16];
    evil.handle[8..].copy_from_slice(&victim.cookie.to_ne_bytes());
    script.call(&evil, OTHER_KEY, (1, 1)).close(&victim);
    let calls = script.run().calls();
    let told: Vec<_> =
        calls.iter().map(|call| (call.process.as_ref().unwrap().pid, call.binding.as_str())).collect();
    assert_eq!(told, [(20, "unbound"), (9, "cleartext")]);
}

#[test]
fn a_flow_opened_by_an_unrelated_process_binds_nothing() {
    let mut script = Script::new();
    let opener = Client::new(9, 3);
    let mut user = opener.clone();
    user.task = task(20);
    script.exec(9, 1, "/usr/bin/agent").exec(20, 1, "/usr/bin/other").hello(&opener, Some(HOST));
    let call = script.call(&user, KEY, (1, 1)).run().one_call();
    assert_eq!((call.binding.as_str(), call.flow_id.as_str()), ("unbound", ""));
    assert!(call.binding_reason.contains("unrelated"), "{}", call.binding_reason);

    // A child may use what its parent opened.
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent").hello(&opener, Some(HOST));
    let time_ns = script.time();
    script.push(Event::Fork { time_ns, parent: key(9), child: key(20) });
    let call = script.call(&user, KEY, (1, 1)).run().one_call();
    assert_eq!((call.binding.as_str(), call.flow_id.as_str()), ("client_random", "3"));
    assert_eq!((call.process.as_ref().unwrap().pid, call.process.unwrap().ancestors[0].pid), (20, 9));
}

#[test]
fn a_pid_used_again_is_another_owner() {
    let mut script = Script::new();
    let first = Client::new(9, 3);
    script.exec(9, 1, "/usr/bin/first").hello(&first, Some(HOST)).call(&first, KEY, (1, 1));
    script.close(&first).exit(9);
    let mut second = Client::new(9, 4);
    second.task.process = ProcessKey { pid: 9, start_ns: 77 * S };
    // No exec of it was seen: nothing of its predecessor may be said of it.
    script.hello(&second, Some(HOST)).call(&second, OTHER_KEY, (1, 1));
    let calls = script.run().calls();
    let processes: Vec<_> = calls.iter().map(|call| call.process.as_ref().unwrap()).collect();
    assert_eq!((processes[0].exe.as_str(), processes[0].unknown_reason.as_str()), ("/usr/bin/first", ""));
    assert_eq!((processes[1].exe.as_str(), processes[1].args.len()), ("", 0));
    assert_ne!(processes[1].unknown_reason, "");
    assert_ne!(processes[0].start_time, processes[1].start_time);
}

#[test]
fn a_call_after_its_process_ended_still_names_it() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    let library = Event::Library {
        process: key(9),
        library: TlsLibrary { name: "libssl.so.3".into(), ..TlsLibrary::default() },
    };
    script.exec(9, 1, "/usr/bin/agent").hello(&client, Some(HOST)).push(library);
    script.write(&client, request(KEY, "m")).exit(9).read(&client, answer((1, 1))).close(&client);
    let told = script.run();
    assert_eq!(told.one_call().process.unwrap().exe, "/usr/bin/agent");
    assert_eq!(told.flows()[0].tls.as_ref().unwrap().library, "libssl.so.3");
}

#[test]
fn a_flow_names_what_read_it_rather_than_the_first_library_of_its_process() {
    let library = |method: &str| TlsLibrary { method: method.into(), ..TlsLibrary::default() };
    let mut script = Script::new();
    script.push(Event::Probed { probe: PROBE, library: library("aes_gcm.aead_constants") });
    script.push(Event::Probed { probe: PROBE + 1, library: library("gnutls.exported_symbol") });
    for (pid, is_read) in [(9, true), (20, false)] {
        let client = Client::new(pid, u64::from(pid));
        script.exec(pid, 1, "/usr/bin/agent").hello(&client, Some(HOST));
        script.push(Event::Library { process: key(pid), library: library("openssl.name_anchor") });
        if is_read {
            script.call(&client, KEY, (1, 1));
        }
        script.close(&client);
    }
    let flows = script.run().flows();
    let methods: Vec<_> = flows.iter().map(|flow| flow.tls.as_ref().unwrap().method.as_str()).collect();
    assert_eq!(methods, ["aes_gcm.aead_constants", "openssl.name_anchor"]);
}

#[test]
fn a_shared_key_is_found_once_with_its_evidence() {
    let mut script = Script::new();
    for pid in [9, 20] {
        let client = Client::new(pid, u64::from(pid));
        script.exec(pid, 1, "/usr/bin/agent").hello(&client, Some(HOST));
        script.call(&client, KEY, (1, 1)).call(&client, KEY, (1, 1)).close(&client);
    }
    let told = script.run();
    let findings = told.findings();
    assert_eq!(findings.len(), 1);
    let finding = &findings[0];
    assert_eq!((finding.rule.as_str(), finding.state.as_str()), ("shared-credential", "open"));
    assert_eq!(finding.credential.as_ref().unwrap().fingerprint, fingerprint(KEY));
    let seqs: Vec<u64> = told.records().iter().map(|record| record.sensor.as_ref().unwrap().seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    for participant in &finding.participants {
        let pid = participant.process.as_ref().unwrap().pid;
        for seq in &participant.evidence {
            let record = &told.records()[*seq as usize - 1];
            let Some(proto::v1::record::Body::ModelCall(call)) = &record.body else { panic!("{record:?}") };
            assert_eq!(call.process.as_ref().unwrap().pid, pid);
            assert_eq!(call.credential.as_ref().unwrap().fingerprint, fingerprint(KEY));
        }
        assert!(!participant.evidence.is_empty());
    }
}

#[test]
fn an_unknown_process_says_why_and_takes_part_in_no_finding() {
    let mut script = Script::new();
    let (known, unknown) = (Client::new(9, 3), Client::new(20, 4));
    script.exec(9, 1, "/usr/bin/agent").hello(&known, Some(HOST)).call(&known, KEY, (1, 1));
    let told = script.hello(&unknown, Some(HOST)).call(&unknown, KEY, (1, 1)).run();
    let process = told.calls().remove(1).process.unwrap();
    assert_eq!((process.pid, process.exe.as_str(), process.comm.as_str()), (20, "", "t20"));
    assert_ne!(process.unknown_reason, "");
    assert_eq!(told.findings(), []);
}

#[test]
fn a_clock_step_moves_records_and_renames_no_process() {
    let mut script = Script::new();
    let client = Client::new(9, 3);
    script.exec(9, 1, "/usr/bin/agent").hello(&client, Some(HOST)).call(&client, KEY, (1, 1));
    script.push(Event::Clock { offset_ns: OFFSET + 3600 * S as i64 }).call(&client, KEY, (1, 1));
    let told = script.run();
    let calls = told.calls();
    let starts: Vec<_> = calls.iter().map(|call| call.process.as_ref().unwrap().start_time).collect();
    assert_eq!(starts[0], starts[1]);
    assert_eq!(calls[1].started - calls[0].started, 3600 * S + 2 * MS);
    let records = told.records();
    let last = records.iter().rfind(|record| record.kind == "model_call").unwrap();
    assert_eq!(last.time, calls[1].started);
}
