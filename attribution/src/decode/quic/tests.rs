use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::crypto::Keys;
use super::{Outcome, Version, client_hello};

/// Records around the hello of a real client.
const CURL: &[u8] = include_bytes!("../testdata/curl_openssl.bin");
/// Connection id, ClientHello and the start of the protected packet of RFC 9001 appendix A.
const ID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
const HELLO: &str = "010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302\
    010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e0005000501\
    00000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010\
    000e0403050306030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff08011001\
    04800075300901100f088394c8f03e51570806048000ffff";
const PROTECTED: &str =
    "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c";

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    let varint = |value: usize| (0x4000 | value as u16).to_be_bytes();
    [&[6], &varint(offset)[..], &varint(data.len()), data].concat()
}

/// An Initial packet of `len` bytes as a client protects it.
fn sealed(version: Version, id: &[u8], number: u32, frames: &[u8], len: usize) -> Vec<u8> {
    let (first, version_bytes) = match version {
        Version::One => (0xc3, [0, 0, 0, 1]),
        Version::Two => (0xd3, [0x6b, 0x33, 0x43, 0xcf]),
    };
    let before = 1 + 4 + 1 + id.len() + 1 + 1 + 2;
    let length = (0x4000 | (len - before) as u16).to_be_bytes();
    let mut header =
        [&[first], &version_bytes[..], &[id.len() as u8], id, &[0, 0], &length, &number.to_be_bytes()]
            .concat();
    let mut plain = frames.to_vec();
    plain.resize(len - header.len() - 16, 0);
    let keys = Keys::of_client(version, id);
    let nonce = keys.nonce(&number.to_be_bytes());
    let cipher = Aes128Gcm::new_from_slice(&keys.key).unwrap();
    let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &header }).unwrap();
    // The number has four bytes, so the sample is the start of the ciphertext.
    let mask = keys.mask(sealed.first_chunk().unwrap());
    header[0] ^= mask[0] & 0x0f;
    for (byte, mask) in header[before..].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
    [header, sealed].concat()
}

/// Two packets with the hello in shuffled frames, a ping and padding, after the zeroes of a filled datagram.
fn two_packets(version: Version) -> Vec<u8> {
    let message = &CURL[5..];
    let (a, b, c) = (&message[..100], &message[100..300], &message[300..]);
    let first = [crypto(300, c), vec![1], crypto(0, a)].concat();
    let second = [&[2, 0, 0, 0, 0][..], &crypto(100, b)].concat();
    [sealed(version, &ID, 0, &first, 1200), vec![0; 30], sealed(version, &ID, 1, &second, 600)].concat()
}

/// The datagrams of a client that asks for `api.keywitness.test`, one after the other.
pub(crate) fn datagrams() -> [Vec<u8>; 2] {
    let both = two_packets(Version::One);
    let (first, second) = both.split_at(1200);
    [first.to_vec(), second.to_vec()]
}

fn server_name(bytes: &[u8]) -> Option<String> {
    match client_hello(bytes) {
        Outcome::Match(hello) => hello.server_name,
        _ => None,
    }
}

#[test]
fn the_keys_of_the_standards_are_made() {
    let keys = |version, key: &str, iv: &str, header: &str| {
        let expected = Keys {
            key: hex(key).try_into().unwrap(),
            iv: hex(iv).try_into().unwrap(),
            header: hex(header).try_into().unwrap(),
        };
        assert_eq!(Keys::of_client(version, &ID), expected);
    };
    // RFC 9001 appendix A.1 and RFC 9369 appendix A.1.
    keys(
        Version::One,
        "1f369613dd76d5467730efcbe3b1a22d",
        "fa044b2f42a3fd3b46fb255c",
        "9f50449e04a0e810283a1e9933adedd2",
    );
    keys(
        Version::Two,
        "8b1a0bc121284290a29e0971b5cd045d",
        "91f73e2351d8fa91660e909f",
        "45b95e15235d6f45a6b19cbcb0294ba9",
    );
}

#[test]
fn the_packet_of_the_standard_is_made_and_read() {
    let frames = [&[6, 0, 0x40, 0xf1], &hex(HELLO)[..]].concat();
    let packet = sealed(Version::One, &ID, 2, &frames, 1200);
    assert!(packet.starts_with(&hex(PROTECTED)), "as in RFC 9001 appendix A.2");
    let Outcome::Match(hello) = client_hello(&packet) else { panic!("no hello") };
    assert_eq!(
        (hello.server_name.as_deref(), hello.alpn.as_slice()),
        (Some("example.com"), &["alpn".to_owned()][..])
    );
    assert!(hello.ja4.starts_with("q13d"), "{}", hello.ja4);
}

#[test]
fn a_hello_in_several_packets_and_frames_is_joined() {
    for version in [Version::One, Version::Two] {
        assert_eq!(server_name(&two_packets(version)).as_deref(), Some("api.keywitness.test"));
    }
}

#[test]
fn every_prefix_is_incomplete() {
    let bytes = two_packets(Version::One);
    for end in 0..bytes.len() {
        assert_eq!(client_hello(&bytes[..end]), Outcome::Incomplete, "{end}");
    }
}

#[test]
fn a_retry_starts_again_under_the_new_id() {
    let message = &CURL[5..];
    let first = sealed(Version::One, &ID, 0, &crypto(0, &message[..200]), 1200);
    let again = sealed(Version::One, b"another!", 1, &crypto(0, message), 1200);
    assert_eq!(server_name(&[first, again].concat()).as_deref(), Some("api.keywitness.test"));
}

#[test]
fn other_packets_are_passed_over_and_other_protocols_are_not_read() {
    // A 0-RTT packet of 20 bytes, then the hello.
    let early = [&[0xd0, 0, 0, 0, 1, 8], &ID[..], &[0, 20], &[7; 20]].concat();
    let hello = sealed(Version::One, &ID, 0, &crypto(0, &CURL[5..]), 1200);
    assert!(server_name(&[early, hello.clone()].concat()).is_some());
    let mut damaged = hello.clone();
    damaged[600] ^= 1;
    let mut unknown = hello.clone();
    unknown[4] = 9;
    let mut long_id = hello;
    long_id[5] = 21;
    let far = sealed(Version::One, &ID, 0, &crypto(0x3fff, b"xy"), 1200);
    for bytes in [damaged, unknown, long_id, far, b"GET / HTTP/1.1\r\n".to_vec(), vec![0x16, 3, 1]] {
        assert_eq!(client_hello(&bytes), Outcome::NoMatch);
    }
}

proptest! {
    #[test]
    fn frames_in_any_cut_and_order_give_the_same_hello(cuts in prop::collection::btree_set(1usize..500, 0..8), turn in 0usize..8) {
        let message = &CURL[5..];
        let mut bounds: Vec<usize> = cuts.into_iter().filter(|cut| *cut < message.len()).collect();
        bounds.insert(0, 0);
        bounds.push(message.len());
        let mut frames: Vec<_> = bounds.windows(2).map(|pair| crypto(pair[0], &message[pair[0]..pair[1]])).collect();
        let len = frames.len();
        frames.rotate_left(turn % len);
        let packet = sealed(Version::One, &ID, 0, &frames.concat(), 1400);
        let name = server_name(&packet);
        prop_assert_eq!(name.as_deref(), Some("api.keywitness.test"));
    }
}
