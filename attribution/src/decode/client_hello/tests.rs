use proptest::prelude::*;

use super::record::STREAM_LIMIT;
use super::{ClientHello, client_hello};
use crate::decode::Outcome;

const CURL: &[u8] = include_bytes!("../testdata/curl_openssl.bin");
const NO_SNI: &[u8] = include_bytes!("../testdata/openssl_no_sni.bin");
const SMALL_RECORDS: &[u8] = include_bytes!("../testdata/openssl_small_records.bin");
const TLS12: &[u8] = include_bytes!("../testdata/openssl_tls12.bin");
const PYTHON: &[u8] = include_bytes!("../testdata/python_ssl.bin");
const NODE: &[u8] = include_bytes!("../testdata/node.bin");
const WGET: &[u8] = include_bytes!("../testdata/wget_gnutls.bin");
const CAPTURES: [&[u8]; 7] = [CURL, NO_SNI, SMALL_RECORDS, TLS12, PYTHON, NODE, WGET];

fn read(bytes: &[u8]) -> ClientHello {
    match client_hello(bytes) {
        Outcome::Match(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// The handshake message inside the records of a capture.
fn message(stream: &[u8]) -> Vec<u8> {
    let (mut rest, mut message) = (stream, Vec::new());
    while let [_, _, _, high, low, body @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        message.extend_from_slice(&body[..len]);
        rest = &body[len..];
    }
    message
}

fn records(message: &[u8], sizes: impl Iterator<Item = usize>) -> Vec<u8> {
    let (mut rest, mut stream) = (message, Vec::new());
    for size in sizes {
        let (now, later) = rest.split_at(size.min(rest.len()));
        stream.extend_from_slice(&[22, 3, 1]);
        stream.extend_from_slice(&(now.len() as u16).to_be_bytes());
        stream.extend_from_slice(now);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    stream
}

/// A hello with these extensions, in one record.
fn hello_with(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (kind, data) in extensions {
        block.extend_from_slice(&kind.to_be_bytes());
        block.extend_from_slice(&(data.len() as u16).to_be_bytes());
        block.extend_from_slice(data);
    }
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 4, 0x0a, 0x0a, 0x13, 0x01, 1, 0]);
    body.extend_from_slice(&(block.len() as u16).to_be_bytes());
    body.extend_from_slice(&block);
    let mut message = vec![1];
    message.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend_from_slice(&body);
    records(&message, std::iter::repeat(16384))
}

fn server_name(host: &[u8]) -> Vec<u8> {
    let mut data = ((host.len() + 3) as u16).to_be_bytes().to_vec();
    data.push(0);
    data.extend_from_slice(&(host.len() as u16).to_be_bytes());
    data.extend_from_slice(host);
    data
}

#[test]
fn captured_hellos_name_host_protocols_and_versions() {
    let host = Some("api.keywitness.test".to_owned());
    let curl = read(CURL);
    assert_eq!(curl.server_name, host);
    assert_eq!(curl.alpn, ["h2", "http/1.1"]);
    assert_eq!(curl.versions, [0x0304, 0x0303, 0x0302, 0x0301]);
    assert_eq!(curl.random[..], CURL[11..43]);
    assert!(!curl.ech);
    assert_eq!(read(NO_SNI).server_name, None);
    assert_eq!(read(TLS12).versions, [0x0303]);
    assert_eq!(read(PYTHON).alpn, ["http/1.1"]);
    assert_eq!(read(NODE).server_name, host);
    assert_eq!(read(WGET).server_name.as_deref(), Some("localhost"));
}

#[test]
fn ja4_of_captured_hellos_is_exact() {
    // Computed by a second implementation; see testdata/README.md.
    let expected = [
        "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6",
        "t13i310900_e8f1e7e78f70_1f22a2ca17c4",
        "t13d3111p0_e8f1e7e78f70_1f22a2ca17c4",
        "t12d280700_d943125447b4_e7e480e5a997",
        "t13d1812h1_85036bcba153_d41ae481755e",
        "t13d5911h2_a33745022dd6_1f22a2ca17c4",
        "t13d291300_723694b0fccc_899037bd0b8c",
    ];
    let found: Vec<String> = CAPTURES.iter().map(|capture| read(capture).ja4).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_hello_in_many_records_is_joined() {
    let hello = read(SMALL_RECORDS);
    assert_eq!(hello.server_name.as_deref(), Some("api.keywitness.test"));
    assert_eq!(hello.alpn.len(), super::ALPN_LIMIT);
    for size in [1, 2, 3, 5, 100] {
        assert_eq!(read(&records(&message(CURL), std::iter::repeat(size))), read(CURL), "{size}");
    }
}

#[test]
fn every_prefix_is_incomplete_until_the_last_byte_and_stable_after_it() {
    for capture in CAPTURES {
        for end in 0..capture.len() {
            assert_eq!(client_hello(&capture[..end]), Outcome::Incomplete, "{end}");
        }
        let whole = client_hello(capture);
        assert!(matches!(whole, Outcome::Match(_)));
        let mut longer = capture.to_vec();
        for _ in 0..3 {
            longer.extend_from_slice(&[20; 10_000]);
            assert_eq!(client_hello(&longer), whole);
        }
    }
}

#[test]
fn a_wrong_first_byte_is_decided_at_once() {
    let starts: [&[u8]; 9] = [
        b"G",
        b"\x17",
        b"\x16\x02",
        b"\x16\x03\x05",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x02\x00\x02",
        b"\x16\x03\x01\x02\x00\x01\x01\x00\x00",
        b"\x16\x03\x01\x00\x01\x01\x17",
    ];
    for start in starts {
        assert_eq!(client_hello(start), Outcome::NoMatch, "{start:?}");
        assert_eq!(client_hello(&start[..start.len() - 1]), Outcome::Incomplete, "{start:?}");
    }
}

#[test]
fn a_hello_that_needs_too_much_of_the_stream_is_no_match() {
    let padding = vec![0; 8000];
    let large = hello_with(&[(21, &padding), (0, &server_name(b"a.test"))]);
    assert_eq!(read(&large).server_name.as_deref(), Some("a.test"));
    let spread = records(&message(&large), std::iter::repeat(1));
    assert_eq!(client_hello(&spread[..STREAM_LIMIT - 1]), Outcome::Incomplete);
    assert_eq!(client_hello(&spread[..STREAM_LIMIT]), Outcome::NoMatch);
    assert_eq!(client_hello(&spread), Outcome::NoMatch);
}

#[test]
fn a_server_name_that_is_no_dns_name_is_dropped() {
    for bad in [&b"127.0.0.1"[..], b"a b", b"", b"\xff", b"x/../y", b"a\0.test"] {
        let hello = read(&hello_with(&[(0, &server_name(bad))]));
        assert_eq!(hello.server_name, None, "{bad:?}");
        assert!(hello.ja4.starts_with("t12d0101"), "{}", hello.ja4);
    }
}

#[test]
fn grease_counts_nowhere_and_ech_is_seen() {
    let hello = read(&hello_with(&[
        (0x1a1a, b""),
        (0xfe0d, b"\x00\x01"),
        (43, b"\x06\xfa\xfa\x03\x04\x03\x03"),
        (16, b"\x00\x0b\x02\x0a\x0a\x02h2\x04\x80abc"),
        (13, b"\x00\x04\x2a\x2a\x04\x03"),
    ]));
    assert!(hello.ech);
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert_eq!(hello.alpn, ["h2", "0x80616263"]);
    assert!(hello.ja4.starts_with("t13i0104h2_"), "{}", hello.ja4);
}

#[test]
fn a_broken_extension_block_is_no_match() {
    let twice = hello_with(&[(0, &server_name(b"a.test")), (0, &server_name(b"b.test"))]);
    assert_eq!(client_hello(&twice), Outcome::NoMatch);
    let mut cut = hello_with(&[(0, &server_name(b"a.test"))]);
    let len_at = cut.len() - server_name(b"a.test").len() - 1;
    cut[len_at] += 1;
    assert_eq!(client_hello(&cut), Outcome::NoMatch);
    let many: Vec<(u16, &[u8])> = (0x2000..0x2200).map(|kind| (kind, &b""[..])).collect();
    assert_eq!(client_hello(&hello_with(&many)), Outcome::NoMatch);
}

proptest! {
    #[test]
    fn record_boundaries_do_not_change_the_answer(sizes in prop::collection::vec(1usize..400, 1..40)) {
        for capture in CAPTURES {
            let stream = records(&message(capture), sizes.iter().copied().chain(std::iter::repeat(4000)));
            prop_assert_eq!(client_hello(&stream), client_hello(capture));
        }
    }

    #[test]
    fn an_answer_once_given_never_changes(
        which in 0..CAPTURES.len(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut stream = CAPTURES[which].to_vec();
        for (at, value) in damage {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        let mut decided = None;
        for end in 0..=stream.len() {
            let answer = client_hello(&stream[..end]);
            match &decided {
                Some(first) => prop_assert_eq!(&answer, first),
                None if answer != Outcome::Incomplete => decided = Some(answer),
                None => {}
            }
        }
    }
}
