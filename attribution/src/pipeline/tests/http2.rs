//! Calls on HTTP/2 connections.

use super::script::*;
use crate::decode::http2::PREFACE;
use crate::event::{Direction, Shape};

fn agent() -> (Script, Client) {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    let client = Client::new(9, 3);
    script.hello(&client, Some(HOST));
    (script, client)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One side, with its header table.
struct Peer(loona_hpack::Encoder<'static>);

impl Peer {
    fn new() -> Self {
        Self(loona_hpack::Encoder::new())
    }

    fn headers(&mut self, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
        let block = self.0.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        frame(1, 4, stream, &block)
    }

    fn request(&mut self, stream: u32, key: &str, model: &str) -> Vec<u8> {
        let head = self.headers(
            stream,
            &[
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/v1/chat/completions"),
                ("authorization", &format!("Bearer {key}")),
                ("user-agent", "test/2"),
            ],
        );
        let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
        [head, frame(0, 1, stream, body.as_bytes())].concat()
    }

    fn answer(&mut self, stream: u32, tokens: (u64, u64)) -> Vec<u8> {
        let id = format!("req-{stream}");
        let head = self.headers(
            stream,
            &[(":status", "200"), ("content-type", "application/json"), ("x-request-id", &id)],
        );
        [head, frame(0, 1, stream, json(tokens).as_bytes())].concat()
    }
}

fn key(stream: u32) -> String {
    format!("sk-proj-AbCdEfGhIjKlMnOpQrStUvWx0123456789abc{stream:05}")
}

#[test]
fn sixty_streams_with_sixty_keys_on_one_connection_have_no_wrong_pair() {
    let (mut script, client) = agent();
    let (mut ours, mut theirs) = (Peer::new(), Peer::new());
    let streams: Vec<u32> = (0..60).map(|number| 2 * number + 1).collect();
    let mut written = PREFACE.to_vec();
    for stream in &streams {
        written.extend(ours.request(*stream, &key(*stream), &format!("model-{stream}")));
    }
    // Answers in another order, all cut at places that mean nothing.
    let mut answered = frame(4, 0, 0, &[]);
    for stream in streams.iter().rev() {
        answered.extend(theirs.answer(*stream, (u64::from(*stream), 2)));
    }
    for piece in written.chunks(701) {
        script.write(&client, piece);
    }
    for piece in answered.chunks(333) {
        script.read(&client, piece);
    }
    let told = script.close(&client).run();
    let calls = told.calls();
    assert_eq!(calls.len(), 60);
    for call in &calls {
        let stream: u32 = call.model_requested.strip_prefix("model-").unwrap().parse().unwrap();
        assert_eq!(call.request_id, format!("req-{stream}"));
        assert_eq!(call.credential.as_ref().unwrap().fingerprint, fingerprint(&key(stream)));
        assert_eq!(call.tokens.as_ref().unwrap().input, Some(u64::from(stream)));
        assert_eq!((call.flow_id.as_str(), call.incomplete_reason.as_str()), ("3", ""));
    }
    assert_eq!(told.verdicts(), [true]);
    let tls = told.flows()[0].tls.clone().unwrap();
    assert_eq!((tls.coverage.as_str(), tls.coverage_reason.as_str()), ("plaintext", ""));
}

#[test]
fn a_loss_between_frames_ends_the_reading_with_its_reason() {
    let (mut script, client) = agent();
    let (mut ours, mut theirs) = (Peer::new(), Peer::new());
    script.write(&client, [PREFACE, &ours.request(1, KEY, "m")].concat());
    script.lose(&client, Direction::Read, 40).read(&client, theirs.answer(1, (1, 2)));
    script.write(&client, ours.request(3, OTHER_KEY, "n"));
    let told = script.close(&client).run();
    let lost = "http/2: lost its place: bytes between frames were not captured";
    let calls = told.calls();
    let seen = calls.iter().map(|call| (call.model_requested.as_str(), call.incomplete_reason.as_str()));
    assert_eq!(seen.collect::<Vec<_>>(), [("m", lost), ("", lost)]);
    assert_eq!(calls[1].credential.as_ref().unwrap().fingerprint, fingerprint(OTHER_KEY));
    let tls = told.flows()[0].tls.clone().unwrap();
    assert_eq!((tls.coverage.as_str(), tls.coverage_reason.as_str()), ("partial", lost));
}

#[test]
fn a_connection_that_was_open_before_tells_its_new_keys_and_never_an_old_one() {
    let (mut script, client) = agent();
    let mut theirs = Peer::new();
    theirs.answer(1, (1, 2));
    // POST, https, path and authority as literals; the key as the newest entry of a table filled before.
    let literal = |name: u8, value: &str| [&[name, value.len() as u8], value.as_bytes()].concat();
    let head = |key: &[u8]| {
        let block = [&[0x83, 0x87], &literal(4, "/v1/chat/completions")[..], &literal(1, HOST), key].concat();
        frame(1, 4, 3, &block)
    };
    let body = frame(0, 1, 3, br#"{"model":"old"}"#);
    script.write(&client, [head(&[0xbe]), body].concat()).read(&client, theirs.answer(3, (3, 4)));
    let told = script.close(&client).run();
    let call = told.one_call();
    assert_eq!((call.model_requested.as_str(), call.tokens.unwrap().input), ("old", Some(3)));
    assert_eq!(call.credential, None);
}

#[test]
fn calls_without_tls_are_read_from_packets_in_any_order() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    let client = Client::new(9, 3).to("127.0.0.1:8000");
    let (mut ours, mut theirs) = (Peer::new(), Peer::new());
    let first = [PREFACE, &frame(4, 0, 0, &[]), &ours.request(1, KEY, "one")].concat();
    let second = ours.request(3, OTHER_KEY, "two");
    // The settings of the server come before anything that was asked.
    let (settings, answers) =
        (frame(4, 0, 0, &[]), [theirs.answer(3, (3, 4)), theirs.answer(1, (1, 2))].concat());
    script.payload(&client, Shape::Http, &first[..PREFACE.len()]);
    script.packet(&client, Direction::Read, 0, &settings);
    script.packet(&client, Direction::Write, first.len(), &second);
    script.packet(&client, Direction::Write, PREFACE.len(), &first[PREFACE.len()..]);
    script.packet(&client, Direction::Read, settings.len() + 50, &answers[50..]);
    script.packet(&client, Direction::Read, settings.len(), &answers[..60]);
    let told = script.close(&client).run();
    let calls = told.calls();
    let seen = calls.iter().map(|call| (call.model_requested.as_str(), call.tokens.as_ref().unwrap().input));
    assert_eq!(seen.collect::<Vec<_>>(), [("two", Some(3)), ("one", Some(1))]);
    assert!(calls.iter().all(|call| (call.binding.as_str(), call.flow_id.as_str()) == ("cleartext", "3")));
    assert_eq!(told.verdicts(), [true]);
}

#[test]
fn an_object_that_turns_to_http2_carries_another_connection() {
    let (mut script, client) = agent();
    let client = client.unbound(false);
    script.write(&client, request(KEY, "one"));
    script.write(&client, [PREFACE, &Peer::new().request(1, OTHER_KEY, "two")].concat());
    script.read(&client, Peer::new().answer(1, (5, 6)));
    script.write(&client, request(KEY, "three")).read(&client, answer((7, 8)));
    let calls = script.exit(9).run().calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.model_requested.as_str(), call.status)).collect();
    assert_eq!(seen, [("one", None), ("two", Some(200)), ("three", Some(200))]);
}

#[test]
fn another_host_in_the_authority_goes_elsewhere() {
    let mut script = Script::new();
    script.exec(9, 1, "/usr/bin/agent");
    let client = Client::new(9, 3);
    script.hello(&client, None);
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", "www.keywitness.test"), (":path", "/")];
    script.write(&client, [PREFACE, &Peer::new().headers(1, &fields)].concat());
    let told = script.close(&client).run();
    assert_eq!(told.verdicts(), [false]);
    told.assert_nothing();
}
