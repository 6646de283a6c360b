//! Every fuzz body on some thousand inputs made from seeds, the same ones in every run.

#[expect(unreachable_pub, clippy::expect_used, reason = "public for the fuzz crate; a test may panic")]
#[path = "../fuzz/src/bodies.rs"]
mod bodies;

use std::time::{Duration, Instant};

/// Inputs per body.
const ROUNDS: usize = 4000;
/// A slow machine stops here rather than fail; what was tried until then was still tried.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// Longest input made, in bytes.
const INPUT_LIMIT: usize = 4096;

/// xorshift64*: good enough to choose mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// A seed with a few bytes flipped, cut, doubled, inserted, or crossed with another seed.
    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(6) {
            let at = self.below(input.len());
            let end = at + self.below(input.len() - at);
            match self.below(6) {
                0 => input.truncate(at),
                1 => drop(input.drain(at..end)),
                2 => input.extend_from_within(at..end),
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let tail = other.get(self.below(other.len())..).unwrap_or_default();
                    input.truncate(at);
                    input.extend_from_slice(tail);
                }
                4 => {
                    let len = self.below(8);
                    input.splice(at..at, self.bytes(len));
                }
                _ if input.is_empty() => {}
                _ => {
                    let edges = [0, 1, 0x7f, 0x80, 0xff, b'\r', b'\n', self.next() as u8];
                    input[at] = edges[self.below(edges.len())];
                }
            }
        }
        input.truncate(INPUT_LIMIT);
        input
    }
}

fn smoke(body: fn(&[u8]), seeds: &[Vec<u8>]) {
    let started = Instant::now();
    let mut random = Random(0x6b65_7977_6974_6e65);
    body(&[]);
    seeds.iter().for_each(|seed| body(seed));
    for round in 0..ROUNDS {
        let input = match round % 8 {
            0 => {
                let len = random.below(200);
                random.bytes(len)
            }
            _ => random.mutated(seeds),
        };
        body(&input);
        if started.elapsed() > TIME_LIMIT {
            break;
        }
    }
}

/// `seed` behind each of the steering bytes.
fn steered(steers: impl IntoIterator<Item = u8>, seed: &[u8]) -> Vec<Vec<u8>> {
    steers.into_iter().map(|steer| [&[steer], seed].concat()).collect()
}

#[test]
fn client_hello_survives() {
    let seeds: [&[u8]; 3] = [
        include_bytes!("../src/decode/testdata/curl_openssl.bin"),
        include_bytes!("../src/decode/testdata/node.bin"),
        include_bytes!("../src/decode/testdata/openssl_small_records.bin"),
    ];
    smoke(bodies::client_hello, &seeds.map(<[u8]>::to_vec));
}

#[test]
fn dns_survives() {
    let answer = b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\0\x01a\x04test\0\0\x01\0\x01\
        \xc0\x0c\0\x05\0\x01\0\0\0\x09\0\x04\x01b\xc0\x0e\xc0\x24\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x01";
    smoke(bodies::dns, &[answer.to_vec()]);
}

#[test]
fn http1_survives() {
    let mut whole = Vec::new();
    for (control, text) in [
        (3, "POST /v1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nab"),
        (3, "cde"),
        (10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n"),
        (4, "HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\nA: b\r\n c\r\n\r\n"),
        (
            11,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nrest",
        ),
        (1, ""),
        (5, "CONNECT a:1 HTTP/1.1\r\n\r\n"),
        (12, "HTTP/1.1 101 Switching Protocols\r\n\r\nopaque"),
    ] {
        whole.extend_from_slice(&[control, text.len() as u8]);
        whole.extend_from_slice(text.as_bytes());
    }
    smoke(bodies::http1, &[whole]);
}

#[test]
fn http2_survives() {
    let frames: [(u8, &[u8]); 9] = [
        (4, b"\0\0\x06\x04\0\0\0\0\0\0\x01\0\0\x10\0"),
        (4, b"\0\0\x14\x01\x04\0\0\0\x01\x83\x87\x04\x03/v1\x41\x06a.test\x40\x01a\x01b"),
        (6, b"\0\0\x03\x01\x05\0\0\0\x03\x82\xbe\xbf\0\0\x05\0\x09\0\0\0\x01\x01ab"),
        (0, b""),
        (6, b"c\0"),
        (5, b"\0\0\x05\x01\0\0\0\0\x01\x88\x0f\x10\x01x\0\0\x01\x09\x04\0\0\0\x01\x88"),
        (5, b"\0\0\x05\0\x01\0\0\0\x01hello\0\0\x04\x03\0\0\0\0\x03\0\0\0\x08"),
        (7, b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0"),
        (9, b"\0\0\x06\x05\x04\0\0\0\x01\0\0\0\x02\x82\x84"),
    ];
    let mut whole = Vec::new();
    for (control, bytes) in frames {
        whole.extend_from_slice(&[control, bytes.len() as u8]);
        whole.extend_from_slice(bytes);
    }
    smoke(bodies::http2, &steered([0, 1], &whole));
}

#[test]
fn websocket_survives() {
    let frames = b"\x81\x85\x01\x02\x03\x04ignmn\x01\x02ab\x89\0\x80\x7e\0\x03cde\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0\x88\x02\x03\xe8";
    smoke(bodies::websocket, &steered([0, 1, 2, 31, 130], frames));
}

#[test]
fn grpc_survives() {
    smoke(
        bodies::grpc,
        &steered([0, 3, 90], b"\0\0\0\0\x07\x0a\x03\x10\x96\x01\x10\x02\x01\0\0\0\x02\x1f\x8b\0\0\0\0\0"),
    );
}

#[test]
fn quic_survives() {
    // The start of the packet in RFC 9001 appendix A.2, and a packet that is whole but not encrypted as it should.
    let start = b"\xc0\0\0\0\x01\x08\x83\x94\xc8\xf0\x3e\x51\x57\x08\0\0\x44\x9e\x7b\x9a\xec\x34";
    let whole = [&b"\xd1\x6b\x33\x43\xcf\x01a\0\x01t\x1e"[..], &[7; 30]].concat();
    smoke(bodies::quic, &[start.to_vec(), whole]);
}

#[test]
fn content_survives() {
    let gzip = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03a\0\xcbH\xcd\xc9\xc9W(\xcf/\xcaI\x01\0\x85\x11J\x0d\x0b\0\0\0";
    let seeds = [
        steered([0, 1, 9, 0x81], gzip),
        steered([2, 10], b"\x78\x9c\xcbH\xcd\xc9\xc9W(\xcf/\xcaI\x01\0\x1a\x0b\x04]"),
        steered([3, 0x83, 5], include_bytes!("../src/decode/testdata/stream.br")),
        steered([0, 4, 0x84, 6], include_bytes!("../src/decode/testdata/stream.zst")),
    ];
    smoke(bodies::content, &seeds.concat());
}

#[test]
fn sse_survives() {
    let stream = "\u{feff}: c\n\nevent: a\rdata: b\r\ndata\n\nid: 1\nretry: 2\ndata:x\r\r\n\n";
    smoke(bodies::sse, &steered([0, 3, 200], stream.as_bytes()));
}

const JSON: &str = r#"{"id":"x\u00e9\n","model":"m","usage":{"input_tokens":12,"output_tokens":3.0e1},"choices":
    [{"delta":{"a":[true,false,null,-1.5]}}],"a":{"b":"\ud83d\ude00"}}"#;

#[test]
fn json_survives() {
    smoke(bodies::json, &steered([0, 1, 30], JSON.as_bytes()));
}

#[test]
fn eventstream_survives() {
    // An empty message: lengths, checksum of them, checksum of all.
    let empty = b"\0\0\0\x10\0\0\0\0\x05\xc2\x48\xeb\x7d\x98\xc8\xff";
    smoke(bodies::eventstream, &steered([0, 1, 30], &[*empty, *empty].concat()));
}

#[test]
fn usage_survives() {
    let lines = format!("{JSON}\n{JSON}\n");
    let events = format!("event: message_start\ndata: {}\n\ndata: [DONE]\n\n", JSON.replace('\n', ""));
    let seeds = [
        steered([0, 4], JSON.as_bytes()),
        steered([1, 13], lines.as_bytes()),
        steered([3, 47], events.as_bytes()),
    ];
    smoke(bodies::usage, &seeds.concat());
}

#[test]
fn credential_survives() {
    // No real keys: the right shape and nothing behind it.
    let head = "/v1/x?key=AIzaTESTTESTTESTTESTTESTTESTTESTTESTTES&api-version=1\nAuthorization: Bearer \
        sk-proj-TESTTESTTESTTESTTESTTESTTEST\nx-api-key: sk-ant-api03-TESTTESTTESTTESTTEST\nAuthorization: \
        AWS4-HMAC-SHA256 Credential=AKIATESTTESTTESTTEST/20260101/eu-west-1/bedrock/aws4_request\n";
    let arguments =
        "curl -H Authorization:\\ Bearer\\ sk-proj-TESTTESTTESTTESTTEST --api-key=abc -u user:pass";
    let seeds = [steered(0..20, head.as_bytes()), steered([0], arguments.as_bytes())];
    smoke(bodies::credential, &seeds.concat());
}
