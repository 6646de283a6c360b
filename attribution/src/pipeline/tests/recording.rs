//! A recording holds no secret and tells the same again.

use proptest::prelude::*;

use super::script::*;
use crate::event::{Event, Shape};
use crate::pipeline::Output;
use crate::recording::recordable;

/// What a recorder writes of `script`, by way of its JSON form, and what was told while it was written.
fn record(script: &Script) -> (Vec<String>, Vec<Output>) {
    let mut attribution = attribution();
    attribution.record_decoded();
    let (mut lines, mut outputs) = (Vec::new(), Vec::new());
    let mut write = |event: &Event| lines.push(serde_json::to_string(event).unwrap());
    for event in &script.events {
        let kept = recordable(event, &kit());
        let first = matches!(event, Event::Payload { .. });
        if first {
            kept.iter().for_each(&mut write);
        }
        attribution.event(event.clone());
        outputs.extend(attribution.outputs());
        attribution.decoded().iter().for_each(&mut write);
        if !first {
            kept.iter().for_each(&mut write);
        }
    }
    attribution.finish();
    outputs.extend(attribution.outputs());
    attribution.decoded().iter().for_each(&mut write);
    (lines, outputs)
}

fn replay(lines: &[String]) -> Vec<Output> {
    let mut attribution = attribution();
    let mut outputs = Vec::new();
    for line in lines {
        attribution.event(serde_json::from_str(line).unwrap());
        outputs.extend(attribution.outputs());
    }
    attribution.finish();
    outputs.extend(attribution.outputs());
    outputs
}

fn records(outputs: Vec<Output>) -> Vec<proto::v1::Record> {
    let record = |output| match output {
        Output::Record(record) => Some(*record),
        _ => None,
    };
    outputs.into_iter().filter_map(record).collect()
}

fn assert_replays(script: &Script) {
    let (lines, told) = record(script);
    let text = lines.join("\n");
    for secret in [KEY, OTHER_KEY, "a secret prompt", "a secret answer"] {
        assert!(!text.contains(secret), "{text}");
        // Nor as bytes.
        assert!(!text.contains(&data_encoding::BASE64.encode(secret.as_bytes())[..8]), "{text}");
    }
    let (told, again) = (records(told), records(replay(&lines)));
    let kinds =
        |records: &[proto::v1::Record]| records.iter().map(|one| one.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&again), kinds(&told));
    for (again, told) in again.iter().zip(&told) {
        assert_eq!(again, told);
    }
}

#[test]
fn calls_flows_and_findings_come_out_as_they_were() {
    let mut script = Script::new();
    let (one, two) = (Client::new(10, 1), Client::new(20, 2));
    script.exec(10, 1, "/bin/one").exec(20, 1, "/bin/two");
    for client in [&one, &two] {
        script.hello(client, Some(HOST)).call(client, KEY, (12, 3)).call(client, OTHER_KEY, (5, 1));
    }
    script.close(&one).exit(10).tick(S).close(&two).exit(20);
    let (_, told) = record(&script);
    let kinds: Vec<String> = records(told).into_iter().map(|record| record.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "model_call").count(), 4);
    assert!(kinds.iter().any(|kind| kind == "flow") && kinds.iter().any(|kind| kind == "finding"));
    assert_replays(&script);
}

#[test]
fn unbound_cut_and_cleartext_calls_too() {
    let mut script = Script::new();
    let unbound = Client::new(10, 1).unbound(false);
    let clear = Client::new(20, 2);
    let cut = Client::new(30, 3);
    script.exec(10, 1, "/bin/one").exec(20, 1, "/bin/two").exec(30, 1, "/bin/three");
    script.call(&unbound, KEY, (1, 2)).exit(10);
    script.payload(&clear, Shape::Http, &request(KEY, "gpt-4o")).close(&clear);
    script.hello(&cut, Some(HOST)).write(&cut, request(KEY, "gpt-4o")).close(&cut);
    assert_replays(&script);
}

#[test]
fn what_goes_elsewhere_stays_away() {
    let mut script = Script::new();
    let client = Client::new(10, 1);
    script.exec(10, 1, "/bin/one").hello(&client, None);
    script.write(&client, request_to("example.net", "/", KEY, "x")).close(&client);
    assert_replays(&script);
}

#[test]
fn a_secret_among_arguments_is_not_written() {
    let mut script = Script::new();
    let image = crate::event::ProcessImage {
        exe: "/bin/agent".into(),
        args: vec!["agent".into(), format!("--key={KEY}"), "a secret prompt of many words".into()],
        ..Default::default()
    };
    script.image(10, 1, image);
    let client = Client::new(10, 1);
    script.hello(&client, Some(HOST)).call(&client, KEY, (1, 1)).close(&client);
    assert_replays(&script);
}

proptest! {
    /// However plaintext is cut, and wherever it ends.
    #[test]
    fn any_cut_of_plaintext_replays(cut in 1..400usize, until in 0..900usize, closes in any::<bool>()) {
        let mut script = Script::new();
        let client = Client::new(10, 1);
        script.exec(10, 1, "/bin/one").hello(&client, Some(HOST));
        let written = request(KEY, "gpt-4o");
        for piece in written.chunks(cut) {
            script.write(&client, piece);
        }
        let read = answer((7, 8));
        for piece in read[..until.min(read.len())].chunks(cut) {
            script.read(&client, piece);
        }
        if closes {
            script.close(&client);
        }
        assert_replays(&script);
    }
}
