//! What holds for every split and every order.

use proptest::prelude::*;

use super::script::*;
use crate::event::{Direction, Event, Plaintext, Shape};

/// A bit of everything.
fn story() -> Script {
    let mut script = Script::new();
    script.exec(5, 1, "/bin/sh").exec(9, 5, "/usr/bin/agent").exec(20, 1, "/usr/bin/other");
    let (first, second, third) = (Client::new(9, 3), Client::new(20, 4), Client::new(20, 5));
    let plain = Client::new(20, 6).to(CONFIGURED);
    let tunnel = Client::new(20, 7);
    script.hello(&first, Some(HOST)).hello(&second, None).hello(&third, Some("www.keywitness.test"));
    script.call(&first, KEY, (11, 12)).call(&second, KEY, (13, 14)).call(&third, KEY, (15, 16));
    script.payload(&plain, Shape::Http, &request_to("llm", "/v1/chat/completions", KEY, "m"));
    script.payload(&tunnel, Shape::Http, b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    script.hello(&tunnel, Some(HOST));
    script.call(&tunnel, OTHER_KEY, (5, 6));
    script.write(&first, [request(KEY, "a"), request(OTHER_KEY, "b")].concat());
    script.read(&first, [answer((1, 2)), answer((3, 4))].concat());
    let object = Client::new(9, 8).unbound(false);
    script.call(&object, KEY, (7, 8)).call(&object, OTHER_KEY, (9, 10));
    script.write(&second, request(OTHER_KEY, "cut"));
    for client in [&first, &second, &third, &plain, &tunnel] {
        script.close(client);
    }
    script.exit(9);
    script
}

/// Every payload, read and write in parts of `size` bytes.
fn split(script: &Script, size: usize) -> Script {
    let mut out = Script::empty();
    out.now = script.now;
    for event in &script.events {
        let (Event::Payload { bytes, .. } | Event::Tls { bytes, .. }) = event else {
            out.push(event.clone());
            continue;
        };
        for (index, part) in bytes.chunks(size).enumerate() {
            let mut event = event.clone();
            match &mut event {
                Event::Tls { position, bytes, .. } => {
                    (*position, *bytes) = (*position + (index * size) as u64, Plaintext::copy(part));
                }
                Event::Payload { offset, bytes, .. } => {
                    (*offset, *bytes) = ((index * size) as u32, Plaintext::copy(part));
                }
                _ => {}
            }
            out.push(event);
        }
    }
    out
}

#[test]
fn one_byte_at_a_time_gives_the_same_records() {
    let script = story();
    let whole = script.run();
    assert_eq!(whole.calls().len(), 9);
    let shared = whole.findings().into_iter().filter(|finding| finding.rule == "shared-credential");
    assert_eq!(shared.count(), 2);
    let told = split(&script, 1).run();
    assert_eq!(told.records(), whole.records());
    assert_eq!(told.counts(), whole.counts());
}

#[test]
fn the_same_events_give_the_same_outputs() {
    assert_eq!(story().run().outputs, story().run().outputs);
}

/// A connection's part of a story: which key it uses for its n-th call, and the events.
fn connection(cookie: u64, calls: u64, size: usize) -> Vec<Event> {
    let client = Client::new(9, cookie);
    let mut script = Script::empty();
    script.hello(&client, Some(HOST));
    for call in 0..calls {
        script.write(&client, request(&secret(cookie, call), &format!("model-{cookie}")));
        script.read(&client, answer((cookie * 100 + call, cookie)));
    }
    let mut script = split(&script, size);
    script.close(&client).events.clone()
}

/// The same calls, all asked before the first is answered.
fn pipelined(events: Vec<Event>) -> Vec<Event> {
    let is_read = |event: &Event| matches!(event, Event::Tls { direction: Direction::Read, .. });
    let (mut events, mut last): (Vec<_>, _) = events.into_iter().partition(|event| !is_read(event));
    last.extend(events.pop());
    events.extend(last);
    events
}

fn secret(cookie: u64, call: u64) -> String {
    format!("sk-proj-{cookie:04}AbCdEfGhIjKlMnOpQrStUv{call:04}WxYz0123456789")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn interleaved_connections_of_one_process_never_swap_keys(
        calls in (1..4u64, 1..4u64),
        sizes in (1..400usize, 1..400usize),
        order in proptest::collection::vec(any::<bool>(), 1..300),
    ) {
        let mut sides = [
            connection(3, calls.0, sizes.0).into_iter(),
            connection(4, calls.1, sizes.1).into_iter(),
        ];
        let mut script = Script::new();
        script.exec(9, 1, "/usr/bin/agent");
        for side in order {
            script.events.extend(sides[usize::from(side)].next());
        }
        script.events.extend(sides.into_iter().flatten());
        let told = script.run();
        let mut seen = Vec::new();
        for call in told.calls() {
            let cookie = u64::from_str_radix(&call.flow_id, 16).unwrap();
            let number = call.tokens.unwrap().input.unwrap() - cookie * 100;
            prop_assert_eq!(call.source.unwrap().port, u32::from(Client::new(9, cookie).port()));
            prop_assert_eq!(call.model_requested, format!("model-{cookie}"));
            prop_assert_eq!(call.credential.unwrap().fingerprint, fingerprint(&secret(cookie, number)));
            seen.push((cookie, number));
        }
        seen.sort_unstable();
        let expected: Vec<_> =
            (0..calls.0).map(|call| (3, call)).chain((0..calls.1).map(|call| (4, call))).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_call_never_gets_the_numbers_of_another_whatever_is_lost(
        calls in 2..5u64,
        size in 20..900usize,
        together in any::<bool>(),
        lost in proptest::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let mut events = connection(3, calls, size);
        if together {
            events = pipelined(events);
        }
        // The hello and the first write stay, so that it is known where the connection begins.
        let kept = 1 + events.iter().position(|event| matches!(event, Event::Tls { .. })).unwrap();
        for at in lost {
            if events.len() > kept {
                events.remove(kept + at.index(events.len() - kept));
            }
        }
        let mut script = Script::new();
        script.exec(9, 1, "/usr/bin/agent").events.extend(events);
        for call in script.run().calls() {
            let tokens = call.tokens.unwrap();
            if let Some(input) = tokens.input {
                prop_assert_eq!(call.credential.unwrap().fingerprint, fingerprint(&secret(3, input - 300)));
            }
            prop_assert!([None, Some(3)].contains(&tokens.output));
        }
    }

    #[test]
    fn events_in_any_order_or_missing_name_no_wrong_key_and_never_panic(
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let story = story();
        let mut script = Script::new();
        script.events.extend(order.iter().map(|at| at.get(&story.events).clone()));
        let told = script.run();
        for call in told.calls() {
            // Each client has its own flow; a bound call is of the process that opened it.
            let pid = call.process.unwrap().pid;
            let opener = match call.flow_id.as_str() {
                "3" => vec![9],
                "" => vec![9, 20],
                _ => vec![20],
            };
            prop_assert!(opener.contains(&pid), "{} {}", call.flow_id, pid);
        }
    }
}
