//! One function per fuzz target. Each takes any bytes, must not panic, and checks what has to hold for all of them.
//! Also run by `attribution/tests/fuzz_smoke.rs`, so that every test run tries some thousand inputs.

use std::sync::{Arc, LazyLock};

use attribution::credential::{Extractor, FleetKey, Hint, Redactor};
use attribution::decode::http::{Event, Side};
use attribution::decode::json::{Keep, Pointers, PointersBuilder, Scanner, Slot, State};
use attribution::decode::{Outcome, client_hello, content, dns, eventstream, grpc, quic, sse};
use attribution::decode::{http1, http2, websocket};
use attribution::endpoint::Catalogue;
use attribution::usage::Meter;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().expect("built-in catalogue"));

/// An answer about a prefix is the answer about the whole, unless it is open.
fn answers_stay<T: PartialEq + std::fmt::Debug>(data: &[u8], decode: impl Fn(&[u8]) -> Outcome<T>) {
    let whole = decode(data);
    for end in [data.len() / 3, data.len() / 2, data.len().saturating_sub(1)] {
        let part = decode(&data[..end]);
        assert!(
            part == Outcome::Incomplete || part == whole,
            "prefix of {end} bytes: {part:?}, whole: {whole:?}"
        );
    }
}

/// The first byte, and what it steers.
fn steered(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// `data` in pieces of up to `size + 1` bytes.
fn pieces(data: &[u8], size: u8) -> std::slice::Chunks<'_, u8> {
    data.chunks(usize::from(size) + 1)
}

/// The TLS ClientHello decoder.
pub fn client_hello(data: &[u8]) {
    answers_stay(data, client_hello::client_hello);
}

/// The DNS answer decoder.
pub fn dns(data: &[u8]) {
    answers_stay(data, dns::answer);
}

/// The HTTP/1.x reader, fed with pieces, gaps and ends in any order.
pub fn http1(data: &[u8]) {
    let mut exchanges = http1::Exchanges::new();
    let (mut open_request, mut last_ended, mut upgraded) = (None, None, None);
    let (mut given, mut told) = (0, 0);
    let mut sink = |event: Event<'_>| match event {
        Event::RequestHead { id, .. } => {
            assert_eq!(open_request.replace(id), None, "a request starts inside another");
        }
        Event::RequestBody { id, bytes } => {
            assert!(open_request.or(upgraded) == Some(id) && !bytes.is_empty());
            told += bytes.len();
        }
        Event::RequestEnd { id, .. } => assert_eq!(open_request.take(), Some(id)),
        Event::ResponseBody { bytes, .. } => told += bytes.len(),
        Event::Upgraded { id } => upgraded = Some(id),
        Event::ResponseEnd { id, .. } => {
            assert!(last_ended < Some(id), "responses end in the order of their requests");
            last_ended = Some(id);
        }
        Event::Broken { id: Some(id), side: Side::Request, .. } => {
            assert_eq!(open_request.take(), Some(id));
        }
        _ => {}
    };
    let mut rest = data;
    let mut now_ns = 0;
    while let [control, len, tail @ ..] = rest {
        let (now, later) = tail.split_at(usize::from(*len).min(tail.len()));
        now_ns += 1;
        rest = later;
        match control % 16 {
            0 => exchanges.request_gap(u64::from(*len), now_ns, &mut sink),
            1 => exchanges.response_gap(u64::from(*len), now_ns, &mut sink),
            2 if *len == 0 => exchanges.closed(now_ns, &mut sink),
            3..=9 => {
                given += now.len();
                exchanges.request_bytes(now, now_ns, &mut sink);
            }
            _ => {
                given += now.len();
                exchanges.response_bytes(now, now_ns, &mut sink);
            }
        }
    }
    exchanges.closed(now_ns, &mut sink);
    assert!(told <= given, "more body than bytes");
}

/// The HTTP/2 reader, from the preface or joined in the middle, fed with pieces, gaps and ends in any order.
pub fn http2(data: &[u8]) {
    let (steer, mut rest) = steered(data);
    let mut exchanges = if steer & 1 == 0 { http2::Exchanges::new() } else { http2::Exchanges::joined() };
    let mut open = std::collections::BTreeSet::new();
    let (mut given, mut told) = (0, 0);
    let mut sink = |event: Event<'_>| match event {
        Event::RequestHead { id, .. } => assert!(open.insert(id), "an exchange begins once"),
        Event::RequestBody { id, bytes } | Event::ResponseBody { id, bytes } => {
            assert!(open.contains(&id) && !bytes.is_empty());
            told += bytes.len();
        }
        Event::ResponseEnd { id, .. } | Event::Broken { id: Some(id), side: Side::Response, .. } => {
            assert!(open.remove(&id), "an exchange ends once");
        }
        _ => {}
    };
    if steer & 1 == 0 {
        exchanges.bytes(Side::Request, http2::PREFACE, 0, &mut sink);
    }
    while let [control, len, tail @ ..] = rest {
        let (now, later) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = later;
        let side = if control & 1 == 0 { Side::Request } else { Side::Response };
        match control % 16 {
            0 | 1 => exchanges.gap(side, u64::from(*len), 1, &mut sink),
            2 if *len == 0 => exchanges.closed(&mut sink),
            _ => {
                given += now.len();
                exchanges.bytes(side, now, 1, &mut sink);
            }
        }
    }
    exchanges.closed(&mut sink);
    assert!(told <= given, "more body than bytes");
    assert!(open.is_empty(), "every exchange ends");
}

/// The WebSocket decoder. A stream gives the same however it is cut.
pub fn websocket(data: &[u8]) {
    let (steer, stream) = steered(data);
    let alone = [None, Some(false), Some(true)][usize::from(steer) % 3];
    let run = |size: u8| {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        let mut decoder = websocket::Decoder::new(alone);
        for piece in pieces(stream, size) {
            decoder.push(piece, &mut |part| match part {
                websocket::Part::Data(bytes) => text.extend_from_slice(bytes),
                other => ends.push((text.len(), format!("{other:?}"))),
            });
        }
        // Of a message that cannot be inflated, the cut decides how much comes before the damage is noticed.
        let damaged = ends.iter().any(|(_, end)| end.contains("whole: false"));
        (!damaged).then_some((ends, decoder.is_dead()))
    };
    let (whole, split) = (run(u8::MAX), run(steer >> 2));
    assert!(whole == split || whole.is_none() || split.is_none(), "{whole:?} {split:?}");
}

/// The gRPC messages, which are the same however they are cut, and the fields in them.
pub fn grpc(data: &[u8]) {
    let (steer, stream) = steered(data);
    let run = |size: u8| {
        let mut messages = Vec::new();
        let mut decoder = grpc::Messages::new("gzip");
        for piece in pieces(stream, size) {
            decoder.push(piece, &mut |message| {
                grpc::field(message, &[1, 2]);
                messages.push(message.to_vec());
            });
        }
        (messages, decoder.skipped(), decoder.at_boundary())
    };
    assert_eq!(run(u8::MAX), run(steer));
}

/// The QUIC Initial decoder.
pub fn quic(data: &[u8]) {
    answers_stay(data, quic::client_hello);
}

/// The content decoders. A body gives the same however it is cut.
pub fn content(data: &[u8]) {
    const CODINGS: [&str; 8] = ["", "gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate", "unknown"];
    let (steer, body) = steered(data);
    let coding = CODINGS[usize::from(steer) % CODINGS.len()];
    let run = |size: u8| {
        let mut decoder = content::Decoder::new(coding);
        let mut output = Vec::new();
        let mut out = |bytes: &[u8]| output.extend_from_slice(bytes);
        let pushed = pieces(body, size).try_for_each(|piece| decoder.push(piece, &mut out));
        let result = pushed.and_then(|()| decoder.finish(&mut out));
        (output, result)
    };
    let (whole, result) = run(u8::MAX);
    let (split, split_result) = run(steer >> 3);
    // Of two damaged codings, the cut decides which is noticed first.
    assert_eq!(result.is_ok(), split_result.is_ok(), "{result:?} {split_result:?}");
    if result.is_ok() {
        assert!(whole == split, "cut into pieces, {coding:?} gives something else");
    }
}

/// The event stream decoder. A stream gives the same however it is cut.
pub fn sse(data: &[u8]) {
    let (steer, stream) = steered(data);
    let run = |size: u8| {
        let mut events = Vec::new();
        let mut decoder = sse::Decoder::new();
        for piece in pieces(stream, size) {
            decoder.push(piece, &mut |event| events.push((event.event.to_owned(), event.data.to_vec())));
        }
        (events, decoder.skipped())
    };
    assert_eq!(run(u8::MAX), run(steer));
}

/// The JSON scanner. A document gives the same however it is cut.
pub fn json(data: &[u8]) {
    static POINTERS: LazyLock<(Arc<Pointers>, [Slot; 4])> = LazyLock::new(|| {
        let mut builder = PointersBuilder::default();
        let slots = ["/model", "/usage/input_tokens", "/choices/0/delta", "/a/b"]
            .map(|pointer| builder.want(pointer, Keep::First, 64).expect("a valid pointer"));
        (Arc::new(builder.build()), slots)
    });
    let (steer, document) = steered(data);
    let (pointers, slots) = &*POINTERS;
    let run = |size: u8| {
        let mut scanner = Scanner::new(pointers.clone());
        for piece in pieces(document, size) {
            let used = scanner.push(piece);
            assert!(used == piece.len() || scanner.state() != State::Reading);
        }
        let state = scanner.finish();
        (state, slots.map(|slot| format!("{:?}", scanner.get(slot))))
    };
    assert_eq!(run(u8::MAX), run(steer));
}

/// The AWS event stream decoder. A stream gives the same however it is cut.
pub fn eventstream(data: &[u8]) {
    let (steer, stream) = steered(data);
    let run = |size: u8| {
        let mut messages = Vec::new();
        let mut decoder = eventstream::Decoder::new();
        for piece in pieces(stream, size) {
            decoder.push(piece, |message| messages.push(format!("{message:?}")));
        }
        (messages, format!("{:?}", decoder.skipped()), decoder.broken(), decoder.at_boundary())
    };
    assert_eq!(run(u8::MAX), run(steer));
}

/// The usage meter. A response says the same however it is cut.
pub fn usage(data: &[u8]) {
    const TYPES: [&str; 4] = [
        "application/json",
        "application/x-ndjson",
        "application/vnd.amazon.eventstream",
        "text/event-stream",
    ];
    let (steer, body) = steered(data);
    let content_type = TYPES[usize::from(steer) % TYPES.len()];
    let run = |size: u8| {
        let mut meter = Meter::new(CATALOGUE.any_usage(), Some(content_type), |_| None);
        let mut events = sse::Decoder::new();
        for piece in pieces(body, size) {
            match meter.takes_events() {
                true => events.push(piece, &mut |event| meter.sse_event(event.event, event.data)),
                false => meter.push(piece),
            }
        }
        meter.finish(false)
    };
    assert_eq!(run(u8::MAX), run(steer >> 2));
}

/// Credential extraction and redaction, on header lines and arguments.
pub fn credential(data: &[u8]) {
    static KEY: LazyLock<Arc<FleetKey>> = LazyLock::new(|| Arc::new(FleetKey::new(&mut [7; 32])));
    static EXTRACTOR: LazyLock<Extractor> =
        LazyLock::new(|| Extractor::new(KEY.clone(), &CATALOGUE, Hint::default()));
    static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(KEY.clone(), &CATALOGUE));
    let (steer, rest) = steered(data);
    let text = String::from_utf8_lossy(rest);
    let (target, fields) = text.split_once('\n').unwrap_or((&text, ""));
    let providers = CATALOGUE.providers();
    let provider = providers.get(usize::from(steer) % (providers.len() + 1));
    let header = |name: &str| {
        let mut lines = fields.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let found = EXTRACTOR.extract(provider, target, header);
    assert!(found.len() <= attribution::credential::MAX_CREDENTIALS);
    assert!(found.iter().all(|found| found.hint.len() <= 64), "a hint is short");
    REDACTOR.redact_text(&text);
    REDACTOR.redact_args(text.split(' ').map(str::to_owned).collect());
}
