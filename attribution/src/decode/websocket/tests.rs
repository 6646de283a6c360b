use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::{Decoder, Deflate, Part};

/// A part without borrows; neighbouring data is joined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Data(Vec<u8>),
    End(bool, bool),
    Close,
}

fn note(seen: &mut Vec<Seen>, part: Part<'_>) {
    match (seen.last_mut(), part) {
        (Some(Seen::Data(before)), Part::Data(bytes)) => before.extend_from_slice(bytes),
        (_, Part::Data(bytes)) => seen.push(Seen::Data(bytes.to_vec())),
        (_, Part::End { text, whole }) => seen.push(Seen::End(text, whole)),
        (_, Part::Close) => seen.push(Seen::Close),
    }
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..126 => out.push(bit | len as u8),
        len @ 126..65_536 => {
            out.push(bit | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    out
}

/// One message as a sender with context takeover compresses it.
fn deflated(stream: &mut Compress, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 100);
    stream.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&super::DEFLATE_TAIL));
    out.truncate(out.len() - 4);
    out
}

fn seen(decoder: &mut Decoder, pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(&piece, &mut |part| note(&mut seen, part));
    }
    seen
}

const LONG: &str = "The same words come again and again, and again, and again. ";

/// Text, binary, fragments around a ping, compressed messages that refer to each other, and a close.
fn conversation() -> (Vec<u8>, Vec<Seen>) {
    let mut stream = Compress::new(Compression::default(), false);
    let long = LONG.repeat(40);
    let (first, second) = (deflated(&mut stream, long.as_bytes()), deflated(&mut stream, long.as_bytes()));
    assert!(second.len() < first.len(), "the second refers to the first");
    let (start, rest) = second.split_at(3);
    let bytes = [
        frame(0x81, Some([1, 2, 3, 4]), b"hello"),
        frame(0x02, Some([9, 8, 7, 6]), b"frag"),
        frame(0x89, None, b"ping"),
        frame(0x80, Some([5, 5, 0, 5]), b"ment"),
        frame(0x81, None, &[]),
        frame(0xc1, Some([4, 3, 2, 1]), &first),
        frame(0x41, None, start),
        frame(0x80, Some([0xff; 4]), rest),
        frame(0x81, None, long.as_bytes()),
        frame(0x88, None, &[3, 0xe8]),
    ];
    let data = |text: &str| Seen::Data(text.as_bytes().to_vec());
    let expected = vec![
        data("hello"),
        Seen::End(true, true),
        data("fragment"),
        Seen::End(false, true),
        Seen::End(true, true),
        data(&long),
        Seen::End(true, true),
        data(&long),
        Seen::End(true, true),
        data(&long),
        Seen::End(true, true),
        Seen::Close,
    ];
    (bytes.concat(), expected)
}

#[test]
fn messages_are_unmasked_joined_and_inflated() {
    let (bytes, expected) = conversation();
    assert_eq!(seen(&mut Decoder::new(Some(false)), [bytes]), expected);
}

#[test]
fn every_split_point_gives_the_same_messages() {
    let (bytes, expected) = conversation();
    for split in 0..bytes.len() {
        let (first, second) = bytes.split_at(split);
        let pieces = [first.to_vec(), second.to_vec()];
        assert_eq!(seen(&mut Decoder::new(Some(false)), pieces), expected, "{split}");
        let part = seen(&mut Decoder::new(Some(false)), [first.to_vec()]);
        assert!(part.len() <= expected.len());
    }
}

#[test]
fn extensions_are_read_as_agreed() {
    let both = Deflate { client_alone: true, server_alone: true };
    assert_eq!(
        Deflate::agreed("permessage-deflate; server_no_context_takeover;client_no_context_takeover"),
        Some(both)
    );
    let window = "x, permessage-deflate; client_max_window_bits=15";
    assert_eq!(Deflate::agreed(window), Some(Deflate { client_alone: false, server_alone: false }));
    assert_eq!(Deflate::agreed(""), None);
    assert_eq!(Deflate::agreed("permessage-brotli"), None);
}

#[test]
fn messages_compressed_alone_survive_a_damaged_one() {
    let alone = |text: &str| deflated(&mut Compress::new(Compression::default(), false), text.as_bytes());
    let mut bad = alone(LONG);
    bad[0] = 0xff;
    let bytes = [frame(0xc1, None, &bad), frame(0xc1, None, &alone(LONG))].concat();
    let seen = seen(&mut Decoder::new(Some(true)), [bytes]);
    assert_eq!(seen.last(), Some(&Seen::End(true, true)));
    assert!(seen.contains(&Seen::End(true, false)));
}

#[test]
fn a_gap_inside_a_payload_tears_only_its_message() {
    let (first, second) = (frame(0x81, Some([1, 2, 3, 4]), b"abcdefgh"), frame(0x81, None, b"next"));
    let mut decoder = Decoder::new(None);
    let mut all = seen(&mut decoder, [first[..8].to_vec()]);
    decoder.gap(5, &mut |part| note(&mut all, part));
    all.extend(seen(&mut decoder, [first[13..].to_vec(), second]));
    let data = |text: &str| Seen::Data(text.as_bytes().to_vec());
    assert_eq!(all, [data("ab"), Seen::End(true, false), data("next"), Seen::End(true, true)]);
}

#[test]
fn a_gap_in_a_compressed_message_tears_those_that_refer_to_it() {
    let mut stream = Compress::new(Compression::default(), false);
    let long = LONG.repeat(3);
    let first = frame(0xc1, None, &deflated(&mut stream, long.as_bytes()));
    let second = frame(0xc1, None, &deflated(&mut stream, long.as_bytes()));
    let mut decoder = Decoder::new(Some(false));
    let mut all = seen(&mut decoder, [first[..2].to_vec()]);
    decoder.gap(first.len() as u64 - 2, &mut |part| note(&mut all, part));
    all.extend(seen(&mut decoder, [second, frame(0x81, None, b"plain")]));
    let plain = Seen::Data(b"plain".to_vec());
    assert_eq!(all, [Seen::End(true, false), Seen::End(true, false), plain, Seen::End(true, true)]);
}

#[test]
fn what_is_no_websocket_is_not_read() {
    let bad = [
        frame(0x83, None, b"x"),
        frame(0xa1, None, b"x"),
        frame(0xc1, None, b"not agreed to compress"),
        frame(0x80, None, b"nothing to continue"),
        frame(0x09, None, b"fragmented ping"),
        frame(0x89, None, &[0; 126]),
        [frame(0x01, None, b"x"), frame(0x81, None, b"y")].concat(),
    ];
    for bytes in bad {
        let mut decoder = Decoder::new(None);
        seen(&mut decoder, [bytes.clone(), frame(0x81, None, b"later")]);
        assert!(decoder.is_dead(), "{bytes:?}");
    }
    let mut lost = Decoder::new(None);
    lost.gap(1, &mut |_| {});
    assert!(lost.is_dead());
}

#[test]
fn a_bomb_is_not_inflated() {
    let mut stream = Compress::new(Compression::best(), false);
    let mut bomb = Vec::with_capacity(1 << 20);
    stream.compress_vec(&vec![0; 64 << 20], &mut bomb, FlushCompress::Sync).unwrap();
    let mut inflated = 0;
    let mut whole = true;
    Decoder::new(Some(true)).push(&frame(0xc2, None, &bomb[..bomb.len() - 4]), &mut |part| match part {
        Part::Data(bytes) => inflated += bytes.len(),
        Part::End { whole: all, .. } => whole = all,
        Part::Close => {}
    });
    assert!(!whole && inflated < 32 << 20, "{inflated}");
}

proptest! {
    #[test]
    fn random_splits_give_the_same_messages(sizes in prop::collection::vec(1usize..90, 1..60)) {
        let (bytes, expected) = conversation();
        let mut sizes = sizes.into_iter().cycle();
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
            pieces.push(now.to_vec());
            rest = later;
        }
        prop_assert_eq!(seen(&mut Decoder::new(Some(false)), pieces), expected);
    }
}
