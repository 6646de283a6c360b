//! Bytes that were not captured, and connections that begin or end in the middle.

use super::{
    Act, Broken, BrokenReason, End, Exchanges, Gap, P, PREFACE, Peer, Q, Seen, body, data, events, frame,
    kind, ok, pairs, play, post, read, settings, write,
};

#[test]
fn a_gap_inside_data_is_passed_over() {
    let (mut client, mut server) = (Peer::new(), Peer::new());
    let upload = data(1, &"u".repeat(100), true);
    let answer = data(1, &"a".repeat(50), false);
    let acts = [
        write([PREFACE, &client.post(1, "k"), &upload[..9 + 10]].concat()),
        Act::Gap(Q, 90),
        write(client.post(3, "k")),
        read([server.ok(1, false), answer[..9].to_vec()].concat()),
        Act::Gap(P, 49),
        read([&b"a"[..], &data(1, "end", true)].concat()),
    ];
    let expected = [
        post(0, "k"),
        body(Q, 0, "uuuuuuuuuu"),
        Gap(Q, 0, 90),
        End(Q, 0),
        post(1, "k"),
        ok(0),
        Gap(P, 0, 49),
        body(P, 0, "aend"),
        End(P, 0),
    ];
    assert_eq!(events(&acts), expected);
}

#[test]
fn a_gap_over_a_frame_header_loses_the_direction_and_only_that() {
    let (mut client, mut server) = (Peer::new(), Peer::new());
    let requests = [PREFACE, &client.post(1, "k"), &client.post(3, "l")].concat();
    let mut exchanges = Exchanges::new();
    let acts = [
        write(requests),
        read([server.ok(1, false), data(1, "abc", false)].concat()),
        Act::Gap(Q, 1),
        write(client.post(5, "m")),
        read(server.ok(3, true)),
        Act::Gap(P, 20),
        read(data(1, "d", true)),
        Act::Close,
    ];
    let lost = |id, side| Broken(Some(id), side, BrokenReason::LostPlace);
    let expected = [
        post(0, "k"),
        post(1, "l"),
        ok(0),
        body(P, 0, "abc"),
        lost(0, Q),
        lost(1, Q),
        ok(1),
        End(P, 1),
        lost(0, P),
    ];
    assert_eq!(play(&mut exchanges, &acts), expected);
    assert_eq!(exchanges.lost(), None, "after close nothing is missing");
}

#[test]
fn requests_after_a_lost_response_direction_are_still_told() {
    let mut client = Peer::new();
    let acts = [
        write([PREFACE, &client.post(1, "k")].concat()),
        Act::Gap(P, 3),
        write(client.post(3, "l")),
        Act::Gap(P, 3),
        read(settings()),
    ];
    let lost = |id| Broken(Some(id), P, BrokenReason::LostPlace);
    assert_eq!(events(&acts), [post(0, "k"), lost(0), post(1, "l"), lost(1)]);
}

#[test]
fn a_lost_preface_is_never_guessed() {
    let acts = [write(PREFACE[..5].to_vec()), Act::Gap(Q, 4), write(PREFACE[9..].to_vec())];
    assert_eq!(events(&acts), [Broken(None, Q, BrokenReason::LostPlace)]);
}

#[test]
fn a_connection_joined_in_its_middle_is_read_and_old_entries_stay_unknown() {
    let (mut client, mut server) = (Peer::new(), Peer::new());
    client.post(1, "old");
    server.ok(1, true);
    let acts = [
        write(client.post(3, "old")),
        // The rest of an earlier answer, then frames.
        read(b"{\"an\":\"answer\"}".to_vec()),
        read([server.ok(3, false), data(3, "x", true)].concat()),
        write(client.post(5, "new")),
        write(client.post(7, "new")),
    ];
    let without_key =
        |id| Seen::Request(id, "POST".into(), "/v1/messages".into(), pairs(&[("host", "a.test")]));
    let seen = play(&mut Exchanges::joined(), &acts);
    let expected = [
        without_key(0),
        ok(0),
        body(P, 0, "x"),
        End(P, 0),
        // The name of its key is an entry from before.
        without_key(1),
        without_key(2),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn closing_breaks_what_is_open() {
    let mut client = Peer::new();
    let acts = [
        write([PREFACE, &client.post(1, "k")].concat()),
        Act::Close,
        write(client.post(3, "k")),
        read(frame(kind::PING, 0, 0, &[0; 8])),
    ];
    let closed = |side| Broken(Some(0), side, BrokenReason::Closed);
    assert_eq!(events(&acts), [post(0, "k"), closed(Q), closed(P)]);
    assert_eq!(events(&[Act::Close]), []);
}
