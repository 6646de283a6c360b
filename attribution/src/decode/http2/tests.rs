use proptest::prelude::*;

use super::frames::{flag, kind};
use super::headers::HeaderBlocks;
use super::{Exchanges, PREFACE};
use crate::decode::http::seen::{
    Seen::{self, Body, Broken, End, Gap, Upgraded},
    note,
};
use crate::decode::http::{BrokenReason, Event, ExchangeId, Side};

mod losses;

/// One thing the client does.
#[derive(Debug, Clone)]
enum Act {
    Bytes(Side, Vec<u8>),
    Gap(Side, u64),
    Close,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, payload.to_vec()].concat()
}

fn data(stream: u32, text: &str, end: bool) -> Vec<u8> {
    frame(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, text.as_bytes())
}

fn settings() -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0])
}

/// Encodes as a real peer does, with a dynamic table.
struct Peer(loona_hpack::Encoder<'static>);

impl Peer {
    fn new() -> Self {
        Self(loona_hpack::Encoder::new())
    }

    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        self.0.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn headers(&mut self, stream: u32, end: bool, fields: &[(&str, &str)]) -> Vec<u8> {
        let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { 0 };
        frame(kind::HEADERS, flags, stream, &self.block(fields))
    }

    fn post(&mut self, stream: u32, key: &str) -> Vec<u8> {
        let fields = [
            (":method", "POST"),
            (":authority", "a.test"),
            (":scheme", "https"),
            (":path", "/v1/messages"),
            ("x-api-key", key),
        ];
        self.headers(stream, false, &fields)
    }

    fn ok(&mut self, stream: u32, end: bool) -> Vec<u8> {
        self.headers(stream, end, &[(":status", "200"), ("server", "s")])
    }
}

fn write(bytes: Vec<u8>) -> Act {
    Act::Bytes(Side::Request, bytes)
}

fn read(bytes: Vec<u8>) -> Act {
    Act::Bytes(Side::Response, bytes)
}

fn play(exchanges: &mut Exchanges, acts: &[Act]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        let sink = &mut |event: Event<'_>| note(&mut seen, event);
        match act {
            Act::Bytes(side, bytes) => exchanges.bytes(*side, bytes, at as u64, sink),
            Act::Gap(side, n) => exchanges.gap(*side, *n, at as u64, sink),
            Act::Close => exchanges.closed(sink),
        }
    }
    seen
}

fn events(acts: &[Act]) -> Vec<Seen> {
    play(&mut Exchanges::new(), acts)
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn post(id: ExchangeId, key: &str) -> Seen {
    let headers = pairs(&[("host", "a.test"), ("x-api-key", key)]);
    Seen::Request(id, "POST".into(), "/v1/messages".into(), headers)
}

fn ok(id: ExchangeId) -> Seen {
    Seen::Response(id, 200, pairs(&[("server", "s")]))
}

fn body(side: Side, id: ExchangeId, text: &str) -> Seen {
    Body(side, id, text.as_bytes().to_vec())
}

use Side::{Request as Q, Response as P};

/// Two calls at once with every kind of frame between them, then one alone.
fn conversation() -> Vec<Act> {
    let (mut client, mut server) = (Peer::new(), Peer::new());
    let first = client.post(1, "key-1");
    let second = client.post(3, "key-2");
    // A block in three frames, padded, with a priority.
    let block = client.block(&[(":method", "GET"), (":path", "/late"), (":authority", "a.test"), ("a", "b")]);
    let padded = [&[2, 0, 0, 0, 0, 9], &block[..3], &[0, 0]].concat();
    let early = server.headers(1, false, &[(":status", "103"), ("link", "x")]);
    let push = [&[0, 0, 0, 2], &server.block(&[(":method", "GET"), (":path", "/pushed")])[..]].concat();
    vec![
        write([PREFACE, &settings()].concat()),
        read([settings(), frame(kind::SETTINGS, 1, 0, &[])].concat()),
        write([first, data(1, "one, ", false)].concat()),
        write([second, data(3, "two", true), frame(kind::WINDOW_UPDATE, 0, 3, &[0, 0, 1, 0])].concat()),
        read([early, server.ok(3, false), data(3, "second ", false)].concat()),
        read([server.ok(1, false), data(1, "fir", false), frame(kind::PUSH_PROMISE, 4, 1, &push)].concat()),
        write([data(1, "one", false), data(1, "", true)].concat()),
        read([data(3, "answer", false), frame(kind::PING, 0, 0, &[0; 8])].concat()),
        read(frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, b"\x03st\0\0\0")),
        read(server.headers(3, true, &[("grpc-status", "0")])),
        write(frame(kind::HEADERS, flag::END_STREAM | flag::PADDED | flag::PRIORITY, 5, &padded)),
        write(
            [frame(kind::CONTINUATION, 0, 5, &block[3..4]), frame(kind::CONTINUATION, 4, 5, &block[4..])]
                .concat(),
        ),
        read([frame(0xc, 0, 0, b"extension"), server.headers(5, true, &[(":status", "204")])].concat()),
        read(frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0, b'd'])),
        Act::Close,
    ]
}

fn conversation_events() -> Vec<Seen> {
    vec![
        post(0, "key-1"),
        body(Q, 0, "one, "),
        post(1, "key-2"),
        body(Q, 1, "two"),
        End(Q, 1),
        ok(1),
        body(P, 1, "second "),
        ok(0),
        body(P, 0, "fir"),
        body(Q, 0, "one"),
        End(Q, 0),
        body(P, 1, "answer"),
        body(P, 0, "st"),
        End(P, 0),
        End(P, 1),
        Seen::Request(2, "GET".into(), "/late".into(), pairs(&[("host", "a.test"), ("a", "b")])),
        End(Q, 2),
        Seen::Response(2, 204, vec![]),
        End(P, 2),
    ]
}

/// The same acts with the bytes cut into pieces; `next` gives the length of each piece.
fn cut(acts: &[Act], mut next: impl FnMut() -> usize) -> Vec<Act> {
    let mut pieces = Vec::new();
    for act in acts {
        let Act::Bytes(side, bytes) = act else {
            pieces.push(act.clone());
            continue;
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(next().clamp(1, rest.len()));
            pieces.push(Act::Bytes(*side, now.to_vec()));
            rest = later;
        }
    }
    pieces
}

#[test]
fn interleaved_streams_are_told_apart() {
    assert_eq!(events(&conversation()), conversation_events());
}

#[test]
fn every_split_point_gives_the_same_events() {
    let acts = conversation();
    assert_eq!(events(&cut(&acts, || 1)), conversation_events());
    for (at, act) in acts.iter().enumerate() {
        let Act::Bytes(side, bytes) = act else { continue };
        for split in 1..bytes.len() {
            let mut cut = acts.clone();
            let half = |bytes: &[u8]| Act::Bytes(*side, bytes.to_vec());
            cut.splice(at..=at, [half(&bytes[..split]), half(&bytes[split..])]);
            assert_eq!(events(&cut), conversation_events(), "act {at} split at {split}");
        }
    }
}

#[test]
fn every_prefix_tells_a_prefix_of_the_events() {
    let written: Vec<u8> = conversation().iter().fold(Vec::new(), |mut all, act| {
        if let Act::Bytes(Side::Request, bytes) = act {
            all.extend(bytes);
        }
        all
    });
    let whole = events(&[write(written.clone())]);
    for end in 0..written.len() {
        let part = events(&[write(written[..end].to_vec())]);
        assert!(part.len() <= whole.len(), "{end}");
        assert!(part.iter().all(|event| !matches!(event, Broken(..))), "{end}");
    }
}

#[test]
fn a_head_is_dated_by_its_first_byte() {
    let mut times = Vec::new();
    let mut exchanges = Exchanges::new();
    let sink = &mut |event: Event<'_>| match event {
        Event::RequestHead { at_ns, .. } | Event::ResponseHead { at_ns, .. } => times.push(at_ns),
        Event::ResponseEnd { at_ns, .. } => times.push(at_ns),
        _ => {}
    };
    let (head, answer) = (Peer::new().post(1, "k"), Peer::new().ok(1, true));
    exchanges.bytes(Q, PREFACE, 5, sink);
    exchanges.bytes(Q, &head[..4], 10, sink);
    exchanges.bytes(Q, &head[4..], 20, sink);
    exchanges.bytes(P, &answer[..10], 30, sink);
    exchanges.bytes(P, &answer[10..], 40, sink);
    assert_eq!(times, [10, 30, 40]);
}

#[test]
fn a_reset_and_a_goaway_end_only_what_they_name() {
    let (mut client, mut server) = (Peer::new(), Peer::new());
    let mut requests = PREFACE.to_vec();
    for stream in [1, 3, 5, 7] {
        requests.extend(client.post(stream, "k"));
    }
    let broken = |id, reason| Broken(Some(id), P, reason);
    let acts = [
        write(requests),
        read(frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 8])),
        read(frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0])),
        read(server.ok(5, true)),
        write(frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])),
    ];
    let expected = [
        broken(1, BrokenReason::Reset),
        broken(3, BrokenReason::GoneAway),
        ok(2),
        End(P, 2),
        broken(0, BrokenReason::Reset),
    ];
    assert_eq!(events(&acts)[4..], expected);
}

#[test]
fn extended_connect_is_told_as_an_upgrade() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/v1/realtime"),
        (":authority", "a.test"),
    ];
    let acts = [
        write([PREFACE, &Peer::new().headers(1, false, &fields), &data(1, "\x01", false)].concat()),
        read([Peer::new().ok(1, false), data(1, "\x02", false)].concat()),
    ];
    let headers = pairs(&[("host", "a.test"), ("upgrade", "websocket")]);
    let expected = [
        Seen::Request(0, "GET".into(), "/v1/realtime".into(), headers),
        body(Q, 0, "\x01"),
        ok(0),
        Upgraded(0),
        body(P, 0, "\x02"),
    ];
    assert_eq!(events(&acts), expected);
}

#[test]
fn a_table_size_change_is_followed() {
    let mut client = Peer::new();
    let first = client.post(1, "k");
    // Empties the table (RFC 7541 section 6.3), then sets a larger one.
    let after =
        [&[0x20, 0x3f, 0xe1, 0x7f], &Peer::new().block(&[(":method", "GET"), (":path", "/b")])[..]].concat();
    let acts = [write([PREFACE, &first, &frame(kind::HEADERS, 5, 3, &after)].concat())];
    let expected = [post(0, "k"), Seen::Request(1, "GET".into(), "/b".into(), vec![]), End(Q, 1)];
    assert_eq!(events(&acts), expected);
    let too_large = [0x3f, 0xe1, 0xff, 0xff, 0x7f, 0x82];
    let acts = [write([PREFACE, &frame(kind::HEADERS, 5, 1, &too_large)].concat())];
    assert_eq!(events(&acts), [Broken(None, Q, BrokenReason::BadHeaders)]);
}

#[test]
fn large_heads_and_many_streams_are_bounded() {
    let long = frame(kind::HEADERS, 0, 1, &[0; 30_000]);
    let acts = [write([PREFACE, &long, &frame(kind::CONTINUATION, 0, 1, &[0; 3000])].concat())];
    assert_eq!(events(&acts), [Broken(None, Q, BrokenReason::HeadTooLarge)]);
    // A short block that names one long field again and again.
    let mut bomb = Peer::new().block(&[(":method", "GET"), ("a", &"b".repeat(3000))]);
    bomb.extend([0xbe; 100]);
    let acts = [write([PREFACE, &frame(kind::HEADERS, 4, 1, &bomb)].concat())];
    assert_eq!(events(&acts), [Broken(None, Q, BrokenReason::HeadTooLarge)]);
    let mut client = Peer::new();
    let mut requests = PREFACE.to_vec();
    for stream in 0..=1024 {
        requests.extend(client.post(2 * stream + 1, "k"));
    }
    let seen = events(&[write(requests)]);
    assert_eq!(seen.iter().filter(|event| matches!(event, Seen::Request(..))).count(), 1024);
    assert_eq!(seen.last(), Some(&Broken(None, Q, BrokenReason::TooManyStreams)));
}

#[test]
fn malformed_frames_break_the_direction() {
    let open = frame(kind::HEADERS, 0, 1, &[0x82]);
    let bad = [
        frame(kind::DATA, 0, 0, b"x"),
        frame(kind::SETTINGS, 0, 0, &[0; 5]),
        frame(kind::RST_STREAM, 0, 1, &[0; 3]),
        frame(kind::DATA, flag::PADDED, 1, &[9, 0]),
        frame(kind::HEADERS, 4, 2, &[0x82]),
        [open.clone(), frame(kind::DATA, 0, 1, b"x")].concat(),
        [open, frame(kind::CONTINUATION, 4, 3, &[0x84])].concat(),
        frame(kind::CONTINUATION, 4, 1, &[0x84]),
    ];
    for bytes in bad {
        let seen = events(&[write([PREFACE, &bytes].concat()), write(Peer::new().post(9, "k"))]);
        assert_eq!(seen, [Broken(None, Q, BrokenReason::BadFrame)], "{bytes:?}");
    }
    assert_eq!(events(&[write(b"PRI * HTTP/3".to_vec())]), [Broken(None, Q, BrokenReason::BadFrame)]);
}

#[test]
fn a_joined_table_gives_new_entries_and_no_old_ones() {
    let mut peer = Peer::new();
    let old = [(":method", "POST"), ("x-api-key", "old"), ("b", "old")];
    peer.block(&old);
    for join in 0..30 {
        peer.block(&[("x-between", &format!("{join}"))]);
        let mut joined = HeaderBlocks::joined();
        let mut again = |fields: &[(&str, &str)]| {
            let block = peer.block(fields);
            let payload = [frame(kind::HEADERS, 4, 1, &block)].concat();
            let header = super::frames::Header::parse(payload.first_chunk().unwrap());
            let fields = joined.frame(header, &block, 0).unwrap().unwrap().fields;
            let own = fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec()));
            own.collect::<Vec<_>>()
        };
        let (name, new) = (format!("name-{join}"), format!("new-{join}"));
        let first = again(&[("x-api-key", "old"), (&name, &new), ("b", "old")]);
        assert_eq!(first, [(name.clone(), new.clone().into_bytes())]);
        let second = again(&[(&name, &new), ("x-api-key", "old"), (&name, "x")]);
        assert_eq!(second, [(name.clone(), new.into_bytes()), (name, b"x".to_vec())]);
    }
}

proptest! {
    #[test]
    fn random_splits_give_the_same_events(sizes in prop::collection::vec(1usize..60, 1..60)) {
        let mut sizes = sizes.into_iter().cycle();
        let acts = cut(&conversation(), || sizes.next().unwrap_or(1));
        prop_assert_eq!(events(&acts), conversation_events());
    }

    #[test]
    fn damaged_connections_split_anywhere_give_the_same_events(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in prop::collection::vec(1usize..60, 1..60),
    ) {
        let mut acts = conversation();
        for (act, at, value) in damage {
            let act = act.index(acts.len());
            if let Act::Bytes(_, bytes) = &mut acts[act] {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        let whole = events(&acts);
        let mut sizes = sizes.into_iter().cycle();
        prop_assert_eq!(events(&cut(&acts, || sizes.next().unwrap_or(1))), whole);
    }
}
