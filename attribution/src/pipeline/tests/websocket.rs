//! Calls inside WebSockets.

use super::script::*;
use crate::event::Direction;

fn agent(path: &str, extensions: &str) -> (Script, Client) {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    let client = Client::new(9, 3);
    script.hello(&client, Some(HOST));
    script.write(
        &client,
        format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {KEY}\r\nConnection: Upgrade\r\n\
             Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ),
    );
    script.read(
        &client,
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nx-request-id: req-ws\r\n{extensions}\r\n"),
    );
    (script, client)
}

fn frame(text: &str, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![0x81, bit | 126];
    out.extend((text.len() as u16).to_be_bytes());
    if masked {
        out.extend([0; 4]);
    }
    out.extend(text.as_bytes());
    out
}

fn create(model: &str) -> Vec<u8> {
    frame(&format!(r#"{{"type":"response.create","model":"{model}","input":"a secret prompt"}}"#), true)
}

fn completed(id: &str, kind: &str, tokens: (u64, u64)) -> Vec<u8> {
    let (input, output) = tokens;
    frame(
        &format!(
            r#"{{"type":"{kind}","response":{{"id":"{id}","model":"m-1","usage":{{"input_tokens":{input},"output_tokens":{output}}}}}}}"#
        ),
        false,
    )
}

#[test]
fn each_turn_is_a_call_with_its_own_usage() {
    let (mut script, client) = agent("/v1/responses", "");
    let delta = frame(r#"{"type":"response.output_text.delta","delta":"a secret answer"}"#, false);
    script.write(&client, create("one")).read(&client, &delta);
    script.read(&client, completed("resp_1", "response.completed", (10, 2)));
    script.write(&client, create("two")).read(&client, completed("resp_2", "response.incomplete", (20, 3)));
    script.write(&client, create("three")).read(&client, frame(r#"{"type":"error"}"#, false));
    script.write(&client, create("four"));
    let told = script.close(&client).run();
    let calls = told.calls();
    let seen: Vec<_> = calls
        .iter()
        .map(|call| {
            let tokens = call.tokens.clone().unwrap();
            let model = call.model_requested.as_str();
            (model, call.request_id.as_str(), tokens.input, tokens.output, call.incomplete_reason.as_str())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("one", "resp_1", Some(10), Some(2), ""),
            ("two", "resp_2", Some(20), Some(3), ""),
            ("three", "req-ws", None, None, "the server reported an error"),
            ("four", "req-ws", None, None, "the connection was closed"),
        ]
    );
    for call in &calls {
        assert_eq!(call.credential.as_ref().unwrap().fingerprint, fingerprint(KEY));
        assert_eq!((call.operation.as_str(), call.flow_id.as_str()), ("chat", "3"));
    }
    assert_eq!((calls[0].duration_ms, calls[0].ttfb_ms), (Some(2), Some(1)));
}

#[test]
fn a_realtime_session_names_its_model_once_and_the_server_begins_turns() {
    let (mut script, client) = agent("/v1/realtime?model=gpt-realtime", "");
    script.read(&client, frame(r#"{"type":"session.created","session":{"model":"gpt-realtime-2"}}"#, false));
    script.write(&client, frame(r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#, true));
    script.read(&client, frame(r#"{"type":"response.created","response":{"id":"r"}}"#, false));
    script.read(&client, completed("resp_1", "response.done", (7, 8)));
    let call = script.close(&client).run().one_call();
    let tokens = call.tokens.unwrap();
    assert_eq!((call.operation.as_str(), call.model_requested.as_str()), ("realtime", "gpt-realtime-2"));
    assert_eq!((tokens.input, tokens.output), (Some(7), Some(8)));
}

#[test]
fn a_session_without_a_turn_is_told_once() {
    let (mut script, client) = agent("/v1/responses", "");
    let call = script.close(&client).run().one_call();
    assert_eq!((call.status, call.tokens.unwrap().quality.as_str()), (Some(101), "truncated"));
    assert_eq!(call.incomplete_reason, "the connection was closed");
}

#[test]
fn a_loss_between_messages_is_the_reason() {
    let (mut script, client) = agent("/v1/responses", "");
    script.write(&client, create("one")).lose(&client, Direction::Read, 5);
    script.read(&client, completed("resp_1", "response.completed", (10, 2)));
    let call = script.close(&client).run().one_call();
    assert_eq!(call.incomplete_reason, "its WebSocket messages could not be read");
    assert_eq!(call.tokens.unwrap().input, None);
}
