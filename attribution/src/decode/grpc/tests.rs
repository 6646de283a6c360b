use std::io::Write as _;

use proptest::prelude::*;

use super::{MESSAGE_LIMIT, Messages, Value, field};

fn prefixed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(message).unwrap();
    encoder.finish().unwrap()
}

fn stream() -> Vec<u8> {
    [prefixed(0, b"one"), prefixed(0, b""), prefixed(1, &gzip(b"three three three")), prefixed(0, b"four")]
        .concat()
}

fn messages(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, u64, bool) {
    let mut decoder = Messages::new("gzip");
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut |message| seen.push(message.to_vec()));
    }
    (seen, decoder.skipped(), decoder.at_boundary())
}

#[test]
fn messages_are_joined_at_every_split() {
    let stream = stream();
    let expected: Vec<Vec<u8>> =
        vec![b"one".to_vec(), vec![], b"three three three".to_vec(), b"four".to_vec()];
    for split in 0..=stream.len() {
        let (first, second) = stream.split_at(split);
        assert_eq!(messages(&[first, second]), (expected.clone(), 0, true), "{split}");
        let (part, _, _) = messages(&[first]);
        assert!(expected.starts_with(&part));
    }
}

#[test]
fn what_is_too_large_or_damaged_is_passed_over() {
    let large = prefixed(0, &vec![0; MESSAGE_LIMIT + 1]);
    let bomb = prefixed(1, &gzip(&vec![0; 3 * MESSAGE_LIMIT]));
    let damaged = prefixed(1, b"not gzip");
    let stream = [large, bomb, damaged, prefixed(0, b"x")].concat();
    assert_eq!(messages(&[&stream]), (vec![b"x".to_vec()], 3, true));
    assert_eq!(messages(&[&[2, 0, 0, 0, 0], &prefixed(0, b"x")]), (vec![], 0, false));
}

#[test]
fn fields_are_found_by_path_and_the_last_one_holds() {
    // 1: 150, 2: "abc", 9: { 2: 7, 2: 8 }, 3: fixed 64, 4: fixed 32
    let message = b"\x08\x96\x01\x12\x03abc\x4a\x04\x10\x07\x10\x08\x19\x01\0\0\0\0\0\0\0\x25\x02\0\0\0";
    assert_eq!(field(message, &[1]), Some(Value::Number(150)));
    assert_eq!(field(message, &[2]), Some(Value::Bytes(b"abc")));
    assert_eq!(field(message, &[9, 2]), Some(Value::Number(8)));
    assert_eq!(field(message, &[3]), Some(Value::Number(1)));
    assert_eq!(field(message, &[4]), Some(Value::Number(2)));
    assert_eq!((field(message, &[5]), field(message, &[1, 1]), field(message, &[])), (None, None, None));
    for end in 1..message.len() {
        // Cut inside a field, nothing is told.
        if ![3, 8, 14, 23].contains(&end) {
            assert_eq!(field(&message[..end], &[1]), None, "{end}");
        }
    }
    assert_eq!(field(&[0xff; 12], &[1]), None);
}

proptest! {
    #[test]
    fn random_bytes_are_bounded(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..40) {
        let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
        prop_assert_eq!(messages(&pieces), messages(&[&bytes]));
        field(&bytes, &[1, 2]);
    }
}
