use proptest::prelude::*;

use super::{Exchanges, Skipped};
use crate::decode::http::seen::{
    Seen::{self, Body, Broken, End, Upgraded},
    note,
};
use crate::decode::http::{BrokenReason, Event, ExchangeId, Side};

mod lengths;
mod losses;

/// One thing the client does.
#[derive(Debug, Clone)]
enum Act {
    Write(Vec<u8>),
    Read(Vec<u8>),
    WriteGap(u64),
    ReadGap(u64),
    Close,
}

fn write(text: &str) -> Act {
    Act::Write(text.as_bytes().to_vec())
}

fn read(text: &str) -> Act {
    Act::Read(text.as_bytes().to_vec())
}

fn play(acts: &[Act]) -> (Vec<Seen>, Skipped) {
    let mut exchanges = Exchanges::new();
    let mut seen = Vec::new();
    for (at, act) in acts.iter().enumerate() {
        let sink = &mut |event: Event<'_>| note(&mut seen, event);
        let now_ns = at as u64;
        match act {
            Act::Write(bytes) => exchanges.request_bytes(bytes, now_ns, sink),
            Act::Read(bytes) => exchanges.response_bytes(bytes, now_ns, sink),
            Act::WriteGap(n) => exchanges.request_gap(*n, now_ns, sink),
            Act::ReadGap(n) => exchanges.response_gap(*n, now_ns, sink),
            Act::Close => exchanges.closed(now_ns, sink),
        }
    }
    (seen, exchanges.skipped())
}

fn events(acts: &[Act]) -> Vec<Seen> {
    play(acts).0
}

fn request(id: ExchangeId, method: &str, target: &str, headers: &[(&str, &str)]) -> Seen {
    Seen::Request(id, method.to_owned(), target.to_owned(), pairs(headers))
}

fn response(id: ExchangeId, status: u16, headers: &[(&str, &str)]) -> Seen {
    Seen::Response(id, status, pairs(headers))
}

fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn body(side: Side, id: ExchangeId, text: &str) -> Seen {
    Body(side, id, text.as_bytes().to_vec())
}

const GET: &str = "GET /v1/models HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn get(id: ExchangeId) -> Seen {
    request(id, "GET", "/v1/models", &[("Host", "a.test")])
}

fn req(id: ExchangeId) -> Seen {
    End(Side::Request, id)
}

fn resp(id: ExchangeId) -> Seen {
    End(Side::Response, id)
}

/// Everything a well-behaved connection does, ending in an upgrade.
fn conversation() -> Vec<Act> {
    vec![
        write(
            "POST /v1/messages HTTP/1.1\r\nhost: a.test\r\nx-api-key: k\r\ncontent-length: 11\r\n\
             expect: 100-continue\r\n\r\n",
        ),
        read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        write("hello world"),
        read("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;ext=\"a;b\"\r\nhello\r\n"),
        read("00000d \r\n, big world\r\n\r\n0\r\nX-Trailer: y\r\nX-Z: \r\n\r\n"),
        // Three at once, the second with a chunked body that looks like a request.
        write(
            "HEAD /h HTTP/1.1\r\n\r\n\r\nPUT /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
             16\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n0\r\n\r\nDELETE /d HTTP/1.0\n\n",
        ),
        read("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        read("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"),
        write("GET /lf HTTP/1.1\nA: b\n  folded\n\n"),
        read("HTTP/1.1 200\nContent-Length: 3, 3\nContent-Length: 3\n\nabc"),
        write("GET /ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        read("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02"),
        write("GET / HTTP/1.1\r\n\r\n"),
        read("HTTP/1.1 200 OK\r\n\r\n"),
        Act::Close,
    ]
}

fn conversation_events() -> Vec<Seen> {
    use Side::{Request as Q, Response as P};
    vec![
        request(
            0,
            "POST",
            "/v1/messages",
            &[("host", "a.test"), ("x-api-key", "k"), ("content-length", "11"), ("expect", "100-continue")],
        ),
        body(Q, 0, "hello world"),
        req(0),
        response(0, 200, &[("Transfer-Encoding", "gzip, Chunked")]),
        body(P, 0, "hello, big world\r\n"),
        resp(0),
        request(1, "HEAD", "/h", &[]),
        req(1),
        request(2, "PUT", "/p", &[("Transfer-Encoding", "chunked")]),
        body(Q, 2, "GET / HTTP/1.1\r\nA: b\r\n"),
        req(2),
        request(3, "DELETE", "/d", &[]),
        req(3),
        response(1, 200, &[("Content-Length", "500")]),
        resp(1),
        response(2, 204, &[]),
        resp(2),
        response(3, 304, &[("Content-Length", "3")]),
        resp(3),
        request(4, "GET", "/lf", &[("A", "b   folded")]),
        req(4),
        response(4, 200, &[("Content-Length", "3, 3"), ("Content-Length", "3")]),
        body(P, 4, "abc"),
        resp(4),
        request(5, "GET", "/ws", &[("Connection", "upgrade"), ("Upgrade", "websocket")]),
        req(5),
        response(5, 101, &[("Upgrade", "websocket")]),
        Upgraded(5),
        body(P, 5, "\x01\x02"),
        body(Q, 5, "GET / HTTP/1.1\r\n\r\n"),
        body(P, 5, "HTTP/1.1 200 OK\r\n\r\n"),
    ]
}

/// The same acts with each write and read cut into pieces; `next` gives the length of each piece.
fn cut(acts: &[Act], mut next: impl FnMut() -> usize) -> Vec<Act> {
    let mut pieces = Vec::new();
    for act in acts {
        let (bytes, make): (_, fn(Vec<u8>) -> Act) = match act {
            Act::Write(bytes) => (bytes, Act::Write),
            Act::Read(bytes) => (bytes, Act::Read),
            other => {
                pieces.push(other.clone());
                continue;
            }
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(next().clamp(1, rest.len()));
            pieces.push(make(now.to_vec()));
            rest = later;
        }
    }
    pieces
}

#[test]
fn a_whole_conversation_is_read() {
    assert_eq!(events(&conversation()), conversation_events());
}

#[test]
fn every_split_point_gives_the_same_events() {
    let acts = conversation();
    assert_eq!(events(&cut(&acts, || 1)), conversation_events());
    for (at, act) in acts.iter().enumerate() {
        let (Act::Write(bytes) | Act::Read(bytes)) = act else { continue };
        for split in 1..bytes.len() {
            let mut cut = acts.clone();
            let half = |bytes: &[u8]| match act {
                Act::Write(_) => Act::Write(bytes.to_vec()),
                _ => Act::Read(bytes.to_vec()),
            };
            cut.splice(at..=at, [half(&bytes[..split]), half(&bytes[split..])]);
            assert_eq!(events(&cut), conversation_events(), "act {at} split at {split}");
        }
    }
}

#[test]
fn a_head_is_dated_by_its_first_byte_and_an_end_by_its_last() {
    let mut times = Vec::new();
    let mut exchanges = Exchanges::new();
    let sink = &mut |event: Event<'_>| match event {
        Event::RequestHead { at_ns, .. }
        | Event::RequestEnd { at_ns, .. }
        | Event::ResponseHead { at_ns, .. }
        | Event::ResponseEnd { at_ns, .. } => times.push(at_ns),
        _ => {}
    };
    exchanges.request_bytes(b"\r\n", 5, sink);
    exchanges.request_bytes(b"GET / HTT", 10, sink);
    exchanges.request_bytes(b"P/1.1\r\n\r\n", 20, sink);
    exchanges.response_bytes(b"HTTP/1.1 200 OK\r\n", 30, sink);
    exchanges.response_bytes(b"Content-Length: 2\r\n\r\na", 40, sink);
    exchanges.response_bytes(b"b", 50, sink);
    assert_eq!(times, [10, 20, 30, 50]);
}

#[test]
fn connect_opens_a_tunnel_only_when_accepted() {
    let connect = "CONNECT a.test:443 HTTP/1.1\r\n\r\n";
    let head = |id| request(id, "CONNECT", "a.test:443", &[]);
    let acts = [
        write(connect),
        read("HTTP/1.1 407 Auth\r\nContent-Length: 2\r\n\r\nno"),
        write(connect),
        read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x16\x03"),
        write(GET),
        read("HTTP/1.1 200 OK\r\n\r\n"),
        Act::Close,
    ];
    let expected = [
        head(0),
        req(0),
        response(0, 407, &[("Content-Length", "2")]),
        body(Side::Response, 0, "no"),
        resp(0),
        head(1),
        req(1),
        response(1, 200, &[("Content-Length", "5")]),
        Upgraded(1),
        body(Side::Response, 1, "\x16\x03"),
        body(Side::Request, 1, GET),
        body(Side::Response, 1, "HTTP/1.1 200 OK\r\n\r\n"),
    ];
    assert_eq!(events(&acts), expected);
}

#[test]
fn an_upgrade_inside_a_request_body_ends_the_request() {
    let acts = [
        write("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab"),
        read("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        write("cd"),
    ];
    let lost = Broken(Some(0), Side::Request, BrokenReason::NotHttp);
    assert_eq!(events(&acts)[2..], [response(0, 101, &[]), Upgraded(0), lost, body(Side::Request, 0, "cd")]);
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
        damage in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in prop::collection::vec(1usize..60, 1..60),
    ) {
        // Everything written, then everything read: the same exchanges, pipelined.
        let (mut written, mut answered) = (Vec::new(), Vec::new());
        for act in conversation() {
            match act {
                Act::Write(bytes) => written.extend(bytes),
                Act::Read(bytes) => answered.extend(bytes),
                _ => {}
            }
        }
        for (in_request, at, value) in damage {
            // The first bytes are left alone: see below.
            let bytes = if in_request { &mut written } else { &mut answered };
            let at = 9 + at.index(bytes.len() - 9);
            bytes[at] = value;
        }
        let acts = [Act::Write(written), Act::Read(answered), Act::Close];
        let whole = events(&acts);
        // A request direction that is lost looks for a request at the start of each call, so there the cut
        // matters.
        prop_assume!(!whole.contains(&Broken(None, Side::Request, BrokenReason::NotHttp)));
        let mut sizes = sizes.into_iter().cycle();
        prop_assert_eq!(events(&cut(&acts, || sizes.next().unwrap_or(1))), whole);
    }
}
