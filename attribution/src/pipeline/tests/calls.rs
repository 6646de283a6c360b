//! What a record says of a call.

use std::io::Write as _;

use super::script::*;
use crate::event::{Direction, ProcessImage, Shape};
use crate::pipeline::Output;

/// A shell that runs an agent with one connection.
fn agent() -> (Script, Client) {
    let mut script = Script::new();
    script.exec(5, 1, "/bin/sh").exec(9, 5, "/usr/bin/agent");
    let client = Client::new(9, 3);
    script.hello(&client, Some(HOST));
    (script, client)
}

#[test]
fn a_whole_call_is_bound_to_its_flow_process_key_and_numbers() {
    let (mut script, client) = agent();
    let told = script.call(&client, KEY, (17, 5)).close(&client).run();
    let call = told.one_call();
    assert_eq!((call.flow_id.as_str(), call.binding.as_str()), ("3", "client_random"));
    let process = call.process.unwrap();
    assert_eq!((process.pid, process.exe.as_str(), process.uid), (9, "/usr/bin/agent", Some(1000)));
    assert_eq!((process.cgroup.as_str(), process.unknown_reason.as_str()), ("/place/9", ""));
    assert_eq!(process.start_time, 9 * S + OFFSET as u64);
    assert_eq!(
        process.ancestors.iter().map(|a| (a.pid, a.exe.as_str())).collect::<Vec<_>>(),
        [(5, "/bin/sh")]
    );
    let credential = call.credential.unwrap();
    assert_eq!(credential.fingerprint, fingerprint(KEY));
    assert_eq!(
        (credential.provider.as_str(), credential.carrier.as_str()),
        ("openai", "header:authorization")
    );
    let endpoint = call.endpoint.unwrap();
    assert_eq!((endpoint.provider.as_str(), endpoint.host.as_str()), ("openai", HOST));
    assert_eq!((endpoint.host_evidence.as_str(), endpoint.port), ("sni", 443));
    assert_eq!((call.model_requested.as_str(), call.model_served.as_str()), ("gpt-4o", "gpt-4o-2024"));
    let tokens = call.tokens.unwrap();
    assert_eq!((tokens.input, tokens.output, tokens.quality.as_str()), (Some(17), Some(5), "exact"));
    assert_eq!(call.source.unwrap().port, u32::from(client.port()));
    assert_eq!(
        (call.status, call.request_id.as_str(), call.operation.as_str()),
        (Some(200), "req-1", "chat")
    );
    assert_eq!((call.duration_ms, call.incomplete_reason.as_str()), (Some(1), ""));

    let flow = told.flows().remove(0);
    assert_eq!((flow.bytes_sent, flow.bytes_received), (Some(900), Some(1900)));
    let tls = flow.tls.unwrap();
    assert_eq!((tls.coverage.as_str(), tls.ja4.len()), ("plaintext", 36));
    assert_eq!(flow.credential.unwrap().fingerprint, fingerprint(KEY));
    assert!(told.outputs.contains(&Output::Ended(client.handle)));
    assert!(told.outputs.iter().any(|output| matches!(output, Output::Learned(file) if file.inode == 9)));
    assert_eq!(told.verdicts(), [true]);
    assert_eq!((told.counts().flows, told.counts().connections), (0, 0));
}

#[test]
fn no_key_prompt_or_answer_is_in_any_output() {
    let (mut script, client) = agent();
    script.call(&client, KEY, (1, 1)).write(&client, request(OTHER_KEY, "m")).close(&client);
    let told = format!("{:?}", script.run().outputs);
    for secret in [KEY, OTHER_KEY, "secret prompt", "secret answer"] {
        assert!(!told.contains(secret), "{secret}");
    }
    assert!(told.contains(&fingerprint(OTHER_KEY)));
}

#[test]
fn a_compressed_stream_is_counted() {
    let (mut script, client) = agent();
    let events = "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n\
                  data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\":8}}\n\n\
                  data: [DONE]\n\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(events.as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    script.write(&client, request(KEY, "gpt-4o"));
    script.read(
        &client,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    for piece in body.chunks(11) {
        script.read(&client, [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
    }
    let call = script.read(&client, "0\r\n\r\n").run().one_call();
    let tokens = call.tokens.unwrap();
    assert_eq!((tokens.input, tokens.output, tokens.quality.as_str()), (Some(21), Some(8), "exact"));
    assert_eq!(call.ttfb_ms, Some(1));
}

#[test]
fn two_keys_on_one_connection_stay_with_their_calls() {
    let (mut script, client) = agent();
    let told = script.call(&client, KEY, (1, 2)).call(&client, OTHER_KEY, (3, 4)).run();
    let calls = told.calls();
    for (call, (key, input)) in calls.iter().zip([(KEY, 1), (OTHER_KEY, 3)]) {
        assert_eq!(call.credential.as_ref().unwrap().fingerprint, fingerprint(key));
        assert_eq!(call.tokens.as_ref().unwrap().input, Some(input));
    }
    assert_eq!(calls.len(), 2);
}

#[test]
fn pipelined_calls_get_their_own_answers() {
    let (mut script, client) = agent();
    script.write(&client, [request(KEY, "a"), request(OTHER_KEY, "b")].concat());
    let calls = script.read(&client, [answer((1, 2)), answer((3, 4))].concat()).run().calls();
    let told: Vec<_> = calls
        .iter()
        .map(|call| (call.model_requested.as_str(), call.tokens.as_ref().unwrap().input.unwrap()))
        .collect();
    assert_eq!(told, [("a", 1), ("b", 3)]);
    assert_eq!(calls[1].credential.as_ref().unwrap().fingerprint, fingerprint(OTHER_KEY));
}

#[test]
fn a_gap_in_a_response_leaves_no_wrong_numbers() {
    let (script, client) = agent();
    // The answer's text holds what looks like usage once its opening quote is lost.
    let body = r#"{"model":"m","choices":[{"message":{"content":"xx\",\"usage\":{\"prompt_tokens\":666}"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
    let whole = response("Content-Type: application/json\r\n", body.as_bytes());
    let start = whole.len() - body.len();
    for lost in start..whole.len() - 1 {
        for length in [1, 5, 40] {
            let mut script = script.clone();
            script.write(&client, request(KEY, "m"));
            let next = (lost + length).min(whole.len() - 1);
            script.read(&client, &whole[..lost]).lose(&client, Direction::Read, next - lost);
            script.read(&client, &whole[next..]);
            let call = script.run().one_call();
            let tokens = call.tokens.unwrap();
            assert_eq!(tokens.quality, "truncated", "{lost}");
            assert!([None, Some(7)].contains(&tokens.input), "{lost} {tokens:?}");
            assert!([None, Some(2)].contains(&tokens.output), "{lost} {tokens:?}");
        }
    }
}

#[test]
fn a_lost_read_inside_a_response_is_missed() {
    // Without the middle, what the answer says of usage stands where the usage does.
    let parts = [
        r#"{"model":"m","choices":[{"message":{"content":""#,
        r#"a","b":"c"}}],"d":""#,
        r#"\","usage":{"prompt_tokens":666,"completion_tokens":666},"e":""}}],"#,
        r#""usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
    ];
    let whole = response("Content-Type: application/json\r\n", parts.concat().as_bytes());
    let head = whole.len() - parts.concat().len();
    for lost in 0..parts.len() {
        let (mut script, client) = agent();
        script.write(&client, request(KEY, "m")).read(&client, &whole[..head]);
        for (index, part) in parts.iter().enumerate() {
            match index == lost {
                true => script.lose(&client, Direction::Read, part.len()),
                false => script.read(&client, part),
            };
        }
        // The next call is read as if nothing had been missed.
        let calls = script.call(&client, OTHER_KEY, (3, 4)).run().calls();
        let tokens = calls[0].tokens.as_ref().unwrap();
        assert_eq!(tokens.quality, "truncated", "{lost}");
        assert!([None, Some(7)].contains(&tokens.input), "{lost} {tokens:?}");
        assert_eq!(calls[1].tokens.as_ref().unwrap().input, Some(3));
        assert_eq!(calls[1].credential.as_ref().unwrap().fingerprint, fingerprint(OTHER_KEY));
    }
}

#[test]
fn a_lost_write_between_two_requests_gives_no_answer_to_another_call() {
    let first = request(KEY, "first");
    let lost = request(OTHER_KEY, "lost").len();
    // The end of the first request is lost too, or not.
    for seen in [first.len() - 20, first.len()] {
        let (mut script, client) = agent();
        script.write(&client, &first[..seen]);
        script.lose(&client, Direction::Write, first.len() - seen + lost);
        script.write(&client, request(OTHER_KEY, "third"));
        for answers in [(1, 2), (3, 4), (5, 6)] {
            script.read(&client, answer(answers));
        }
        let calls = script.close(&client).run().calls();
        assert_eq!(calls[0].credential.as_ref().unwrap().fingerprint, fingerprint(KEY));
        assert_eq!(calls[0].tokens.as_ref().unwrap().input, Some(1));
        assert_eq!(calls.len(), 1, "which answer is the third's is not known");
    }
}

#[test]
fn the_next_answer_does_not_take_the_place_of_a_lost_one() {
    let (mut script, client) = agent();
    script.write(&client, request(KEY, "first")).lose(&client, Direction::Read, answer((1, 2)).len());
    let calls = script.call(&client, OTHER_KEY, (3, 4)).run().calls();
    for (call, model) in calls.iter().zip(["first", "gpt-4o"]) {
        assert_eq!(call.model_requested, model);
        assert_eq!(call.tokens.as_ref().unwrap().quality, "unreported");
        assert!(call.incomplete_reason.contains("not captured"), "{}", call.incomplete_reason);
    }
    assert_eq!(calls.len(), 2);
}

#[test]
fn the_first_answer_seen_goes_to_none_of_several_requests_when_its_position_says_nothing() {
    let (mut script, client) = agent();
    script.lose(&client, Direction::Write, 10);
    script.write(&client, request(KEY, "first")).write(&client, request(OTHER_KEY, "second"));
    script.lose(&client, Direction::Read, answer((1, 2)).len()).read(&client, answer((3, 4)));
    let calls = script.run().calls();
    assert_eq!(calls.iter().map(|call| call.status).collect::<Vec<_>>(), [None, None]);
}

#[test]
fn a_position_that_goes_back_starts_anew() {
    let (mut script, client) = agent();
    let cut = answer((666, 666));
    script.write(&client, request(KEY, "first")).read(&client, &cut[..cut.len() - 60]);
    let calls = script.forget(&client).call(&client, OTHER_KEY, (3, 4)).run().calls();
    assert_eq!((calls[0].model_requested.as_str(), calls[1].model_requested.as_str()), ("first", "gpt-4o"));
    assert!(calls[0].incomplete_reason.contains("not known"), "{}", calls[0].incomplete_reason);
    assert_eq!(calls[0].tokens.as_ref().unwrap().quality, "truncated");
    assert_eq!(calls[1].credential.as_ref().unwrap().fingerprint, fingerprint(OTHER_KEY));
    assert_eq!(calls[1].tokens.as_ref().unwrap().input, Some(3));
    assert_eq!((calls[1].incomplete_reason.as_str(), calls.len()), ("", 2));
}

#[test]
fn events_told_twice_put_no_answer_on_another_call() {
    let (mut script, client) = agent();
    script.call(&client, KEY, (1, 2)).write(&client, request(OTHER_KEY, "second"));
    let again = script.events[script.events.len() - 2].clone();
    let calls = script.push(again).read(&client, answer((3, 4))).run().calls();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].tokens.as_ref().unwrap().input, calls[0].incomplete_reason.as_str()), (Some(1), ""));
    assert_eq!((calls[1].model_requested.as_str(), calls[1].status), ("second", None));
    assert_ne!(calls[1].incomplete_reason, "");
}

#[test]
fn a_stream_is_told_by_the_body_else_by_the_path_or_the_response() {
    let stream = |path: &str, body: &str, kind: &str| {
        let (mut script, client) = agent();
        let length = body.len();
        script.write(
            &client,
            format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{body}"),
        );
        script.read(&client, response(&format!("Content-Type: {kind}\r\n"), b"")).run().one_call().stream
    };
    let (chat, json, events) =
        ("/v1/chat/completions", "application/json", "text/event-stream; charset=utf-8");
    assert_eq!(stream(chat, "{}", json), None);
    assert_eq!(stream(chat, "{}", events), Some(true));
    assert_eq!(stream(chat, "{}", "application/vnd.amazon.eventstream"), Some(true));
    assert_eq!(stream(chat, r#"{"stream":true}"#, json), Some(true));
    assert_eq!(stream(chat, r#"{"stream":false}"#, events), Some(false));
    assert_eq!(stream("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "{}", json), Some(true));
    assert_eq!(stream("/v1beta/models/stream:generateContent", "{}", json), None);
    assert_eq!(stream("/model/nova-stream/converse-stream", "{}", json), Some(true));
    assert_eq!(stream("/model/nova-stream/converse", "{}", json), None);
}

#[test]
fn a_gap_in_a_stream_leaves_no_wrong_numbers() {
    let (mut script, client) = agent();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 200\r\n\r\n";
    script.write(&client, request(KEY, "m")).read(&client, head);
    let cut = "data: {\"usage\":{\"prompt_tokens\":1234,\"completion_tokens\":5}}\n\n";
    script.read(&client, &cut[..33]).lose(&client, Direction::Read, 2).read(&client, &cut[35..]);
    let tokens = script.close(&client).run().one_call().tokens.unwrap();
    assert_eq!((tokens.input, tokens.quality.as_str()), (None, "truncated"));
}

#[test]
fn a_gap_in_a_request_names_no_model_from_the_prompt() {
    let (mut script, client) = agent();
    // Without what is lost, the model of a tool stands where that of the request does.
    let (seen, lost) = (r#"{"a":"abc"#, r#"","tools":[{"b":"y"#);
    let body = format!(r#"{seen}{lost}","model":"evil"}}],"model":"gpt-4o"}}"#);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    script.write(&client, head).write(&client, seen).lose(&client, Direction::Write, lost.len());
    script.write(&client, &body[seen.len() + lost.len()..]);
    let call = script.read(&client, answer((1, 1))).run().one_call();
    assert_eq!(call.model_requested, "");
    assert_eq!(call.tokens.unwrap().input, Some(1));
}

#[test]
fn an_answer_that_another_thread_read_first_waits_for_its_request() {
    let (mut script, client) = agent();
    let answer = answer((17, 5));
    let (head, rest) = answer.split_at(60);
    for _ in 0..2 {
        script.read(&client, head).read(&client, rest).write(&client, request(KEY, "m"));
    }
    let told = script.close(&client).run();
    let calls = told.calls();
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!((call.incomplete_reason.as_str(), call.status), ("", Some(200)));
        assert_eq!(call.tokens.unwrap().input, Some(17));
    }
}

#[test]
fn an_answer_whose_request_was_lost_answers_no_other() {
    let (mut script, client) = agent();
    script.call(&client, KEY, (1, 1)).lose(&client, Direction::Write, 200).read(&client, answer((17, 5)));
    let told = script.write(&client, request(KEY, "m")).close(&client).run();
    let told: Vec<_> = told.calls().into_iter().map(|call| call.tokens.unwrap().input).collect();
    assert_eq!(told.first(), Some(&Some(1)));
    assert!(!told.contains(&Some(17)), "{told:?}");
}

#[test]
fn a_connection_closed_in_a_response_gives_an_incomplete_call() {
    let (mut script, client) = agent();
    let answer = answer((17, 5));
    script.write(&client, request(KEY, "m")).read(&client, &answer[..answer.len() - 10]);
    let told = script.close(&client).run();
    let call = told.one_call();
    assert_ne!(call.incomplete_reason, "");
    assert_eq!((call.duration_ms, call.tokens.unwrap().quality), (None, "truncated".into()));
    assert_eq!(told.flows().len(), 1);
}

#[test]
fn a_response_that_lasts_to_the_close_is_whole_only_when_the_close_was_seen() {
    let (mut script, client) = agent();
    script.write(&client, request(KEY, "m"));
    script
        .read(&client, ["HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", &json((1, 2))].concat());
    let call = script.clone().close(&client).run().one_call();
    assert_eq!((call.incomplete_reason.as_str(), call.tokens.unwrap().quality.as_str()), ("", "exact"));
    let mut told = script.run();
    told.attribution.finish();
    told.outputs = told.attribution.outputs();
    assert_eq!(told.one_call().incomplete_reason, "the sensor stopped");
}

#[test]
fn an_upgrade_ends_the_call_and_what_follows_is_not_read() {
    let (mut script, client) = agent();
    let head = format!(
        "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {KEY}\r\n\
         Connection: Upgrade\r\nUpgrade: other/1\r\n\r\n"
    );
    script.write(&client, head);
    script.read(&client, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other/1\r\n\r\n");
    script.write(&client, request(OTHER_KEY, "m")).read(&client, answer((1, 1)));
    let call = script.close(&client).run().one_call();
    assert!(call.incomplete_reason.contains("another protocol"), "{}", call.incomplete_reason);
    assert_eq!((call.status, call.credential.unwrap().fingerprint), (Some(101), fingerprint(KEY)));
}

/// A program that sends a request without TLS to `address`.
fn clear(address: &str, path: &str) -> (Script, Client, Vec<u8>) {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    let client = Client::new(9, 3).to(address);
    let request = request_to("llm", path, KEY, "gpt-4o");
    script.payload(&client, Shape::Http, &request);
    (script, client, request)
}

#[test]
fn calls_without_tls_are_read_from_packets_in_any_order() {
    let (mut script, client, request) = clear("127.0.0.1:8000", "/v1/chat/completions");
    let (first, second) = (answer((17, 5)), answer((3, 2)));
    script.packet(&client, Direction::Read, 40, &first[40..]).packet(
        &client,
        Direction::Read,
        0,
        &first[..50],
    );
    // The same connection is used again; a packet comes twice.
    script.packet(&client, Direction::Write, request.len(), &request);
    script.packet(&client, Direction::Write, request.len(), &request[..20]);
    script.packet(&client, Direction::Read, first.len(), &second);
    let told = script.close(&client).run();
    let calls = told.calls();
    let tokens = |at: usize| calls[at].tokens.clone().unwrap().input;
    assert_eq!((calls.len(), tokens(0), tokens(1)), (2, Some(17), Some(3)));
    for call in &calls {
        assert_eq!((call.binding.as_str(), call.flow_id.as_str()), ("cleartext", "3"));
        assert_eq!((call.status, call.incomplete_reason.as_str()), (Some(200), ""));
    }
    assert_eq!(told.verdicts(), [true]);
}

#[test]
fn a_request_without_tls_whose_answer_is_not_seen_is_told() {
    let (mut script, client, _) = clear(CONFIGURED, "/v1/chat/completions");
    let told = script.close(&client).run();
    let call = told.one_call();
    assert_eq!((call.binding.as_str(), call.flow_id.as_str()), ("cleartext", "3"));
    assert_eq!((call.model_requested.as_str(), call.status), ("gpt-4o", None));
    assert_eq!(call.credential.unwrap().fingerprint, fingerprint(KEY));
    assert!(!call.incomplete_reason.is_empty());
    assert_eq!(told.flows().remove(0).tls, None);
    assert!(told.outputs.iter().any(|output| matches!(output, Output::Learned(_))));
}

#[test]
fn a_server_at_home_is_known_by_port_and_request_and_only_nearby() {
    for (address, path, provider) in [
        ("127.0.0.1:11434", "/api/chat", Some("ollama")),
        ("10.1.2.3:8000", "/v1/chat/completions", Some("vllm")),
        ("[fd00::1]:4000", "/v1/messages", Some("litellm_proxy")),
        ("127.0.0.1:11434", "/orders", None),
        ("127.0.0.1:9000", "/api/chat", None),
        ("9.9.9.9:11434", "/api/chat", None),
        // Two servers have this.
        ("127.0.0.1:8080", "/v1/chat/completions", None),
    ] {
        let (mut script, client, _) = clear(address, path);
        let told = script.close(&client).run();
        let calls = told.calls();
        let told = calls.first().and_then(|call| call.endpoint.as_ref());
        let told = told.map(|endpoint| (endpoint.provider.as_str(), endpoint.host_evidence.as_str()));
        assert_eq!(told, provider.map(|provider| (provider, "usual_port")), "{address} {path}");
    }
}

#[test]
fn arguments_hold_neither_keys_nor_prompts() {
    let mut script = Script::new();
    let args = ["curl", "-H", &format!("Authorization: Bearer {KEY}"), "-d", r#"{"content":"my prompt"}"#];
    let args = args.map(str::to_owned).to_vec();
    script.image(9, 1, ProcessImage { exe: "/usr/bin/curl".into(), args, ..Default::default() });
    let client = Client::new(9, 3);
    script.hello(&client, Some(HOST)).call(&client, KEY, (1, 1));
    let args = script.run().one_call().process.unwrap().args;
    assert_eq!(args[3..], ["-d", "[text, 23 bytes]"]);
    assert!(args[2].contains(&fingerprint(KEY)) && !args[2].contains(KEY), "{}", args[2]);
}

#[test]
fn a_stream_that_said_its_end_is_whole_although_the_client_closed_at_once() {
    let (mut script, client) = agent();
    script.hello(&client, Some(HOST)).write(&client, request(KEY, "m"));
    let event =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    script.read(&client, format!("{head}{:x}\r\n{event}\r\n", event.len()));
    let call = script.close(&client).run().one_call();
    assert_eq!((call.incomplete_reason.as_str(), call.duration_ms.is_some()), ("", true));
    assert_eq!(call.tokens.unwrap().quality, "exact");
}
