use std::io::Write as _;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::{ContentError, Decoder};

/// 25 kB of event stream, compressed by the reference tools; see testdata/README.md.
const BROTLI: &[u8] = include_bytes!("../testdata/stream.br");
const ZSTD: &[u8] = include_bytes!("../testdata/stream.zst");

fn text() -> Vec<u8> {
    let line =
        |n: u32| format!("data: {{\"n\":{n},\"square\":{},\"text\":\"line {n}\"}}\n\n", n.wrapping_mul(n));
    (0..500).map(line).collect::<String>().into_bytes()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).unwrap()
}

/// Every kind of body that decodes to [`text`].
static BODIES: LazyLock<Vec<(&'static str, Vec<u8>)>> = LazyLock::new(|| {
    let text = text();
    let (front, back) = text.split_at(5000);
    let mut header = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 4, 0, b'e', b'x', b't', b'r'];
    header.extend_from_slice(b"name\0comment\0\xaa\xbb");
    let with_fields = [header, gzip(&text)[10..].to_vec()].concat();
    vec![
        ("", text.clone()),
        ("identity", text.clone()),
        ("", gzip(&text)),
        ("", zstd(&text)),
        ("gzip", gzip(&text)),
        ("X-GZIP", [gzip(front), gzip(back), vec![0; 7]].concat()),
        ("gzip", with_fields),
        ("deflate", zlib(&text)),
        ("deflate", raw_deflate(&text)),
        ("zstd", zstd(&text)),
        ("zstd", [zstd(front), vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], zstd(back)].concat()),
        ("zstd", ZSTD.to_vec()),
        ("br", BROTLI.to_vec()),
        ("gzip, zstd", zstd(&gzip(&text))),
        ("identity , deflate,gzip", gzip(&zlib(&text))),
    ]
});

fn decode<'a>(
    coding: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Result<(), ContentError>) {
    let mut decoder = Decoder::new(coding);
    let mut output = Vec::new();
    for piece in pieces {
        let result = decoder.push(piece, &mut |bytes| output.extend_from_slice(bytes));
        if result.is_err() {
            return (output, result);
        }
    }
    let result = decoder.finish(&mut |bytes| output.extend_from_slice(bytes));
    (output, result)
}

#[test]
fn every_coding_gives_the_text_back_in_pieces_of_any_size() {
    for (coding, body) in BODIES.iter() {
        for size in [1, 2, 3, 7, 1000, 1024, usize::MAX] {
            let (output, result) = decode(coding, body.chunks(size));
            assert_eq!(result, Ok(()), "{coding} {size}");
            assert!(output == text(), "{coding} {size}");
        }
    }
}

#[test]
fn every_split_point_gives_the_same_output() {
    for (coding, body) in BODIES.iter() {
        for split in (0..body.len().min(60)).chain((60..body.len()).step_by(397)) {
            let (output, result) = decode(coding, [&body[..split], &body[split..]]);
            assert_eq!((result, output == text()), (Ok(()), true), "{coding} {split}");
        }
    }
}

#[test]
fn flushed_events_come_out_at_once() {
    let events = [&b"data: one\n\n"[..], b"data: two\n\n", b"data: three\n\n"];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut zstd = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let mut decoders = [Decoder::new("gzip"), Decoder::new("deflate"), Decoder::new("zstd")];
    for event in events {
        gzip.write_all(event).unwrap();
        gzip.flush().unwrap();
        deflate.write_all(event).unwrap();
        deflate.flush().unwrap();
        zstd.write_all(event).unwrap();
        zstd.flush().unwrap();
        let sent = [
            std::mem::take(gzip.get_mut()),
            std::mem::take(deflate.get_mut()),
            std::mem::take(zstd.get_mut()),
        ];
        for (decoder, bytes) in decoders.iter_mut().zip(sent) {
            let mut output = Vec::new();
            decoder.push(&bytes, &mut |bytes| output.extend_from_slice(bytes)).unwrap();
            assert_eq!(output, event);
        }
    }
}

#[test]
fn brotli_output_does_not_wait_for_the_end() {
    let mut output = Vec::new();
    let mut decoder = Decoder::new("br");
    decoder.push(&BROTLI[..BROTLI.len() * 3 / 4], &mut |bytes| output.extend_from_slice(bytes)).unwrap();
    assert!(output.len() > text().len() / 2, "{}", output.len());
    assert!(text().starts_with(&output));
}

#[test]
fn a_cut_body_gives_its_beginning_and_then_an_error() {
    for (coding, body) in BODIES.iter().filter(|(coding, _)| !matches!(*coding, "" | "identity")) {
        let (output, result) = decode(coding, [&body[..body.len() - 9]]);
        assert!(matches!(result, Err(ContentError::Corrupt { .. })), "{coding} {result:?}");
        assert!(text().starts_with(&output), "{coding}");
    }
}

#[test]
fn damage_is_an_error_and_errors_stay() {
    let mut bad_sum = gzip(&text());
    let at = bad_sum.len() - 6;
    bad_sum[at] ^= 1;
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("gzip", bad_sum, "gzip"),
        ("gzip", b"{\"plain\":true}".to_vec(), "gzip"),
        ("gzip", [gzip(b"a"), b"junk".to_vec()].concat(), "gzip"),
        ("gzip", vec![0x1f, 0x8b, 8, 0xe0, 0, 0, 0, 0, 0, 0], "gzip"),
        ("deflate", vec![0xff; 40], "deflate"),
        ("zstd", b"plain text".to_vec(), "zstd"),
        ("br", vec![0xfb; 40], "br"),
    ];
    for (coding, body, what) in cases {
        let mut decoder = Decoder::new(coding);
        let error = decoder.push(&body, &mut |_| {}).expect_err(coding);
        assert_eq!(error, ContentError::Corrupt { what }, "{coding}");
        let again = decoder.push(b"more", &mut |_| panic!("output after an error"));
        assert_eq!(again, Err(error.clone()));
        assert_eq!(decoder.finish(&mut |_| {}), Err(error));
    }
}

#[test]
fn unknown_and_too_many_codings_are_unsupported() {
    for coding in ["compress", "aws-chunked", "gzip, gzip, gzip", &"x".repeat(500)] {
        let error = Decoder::new(coding).push(b"a", &mut |_| {}).expect_err(coding);
        let ContentError::Unsupported { what } = error else { panic!("{error:?}") };
        assert!(what.len() <= 64);
    }
}

#[test]
fn large_windows_are_refused() {
    // A zstd frame header with a window of 16 MiB, and the first byte of brotli streams with 16 and 8 MiB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
    assert!(Decoder::new("zstd").push(&frame, &mut |_| {}).is_err());
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode("zstd", [&frame[..]]), (Vec::new(), Ok(())));
    let error = Decoder::new("br").push(&[0x0f], &mut |_| {});
    assert!(matches!(error, Err(ContentError::Unsupported { .. })));
    assert_eq!(Decoder::new("br").push(&[0x0d], &mut |_| {}), Ok(()));
}

/// A run of zeros, compressed step by step so that the test needs no memory for it.
fn zeros(len: usize, mut encoder: impl std::io::Write) {
    let block = vec![0; 1024 * 1024];
    for _ in 0..len / block.len() {
        encoder.write_all(&block).unwrap();
    }
    encoder.flush().unwrap();
}

#[test]
fn bombs_cost_little() {
    const LEN: usize = 16 * 1024 * 1024;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    zeros(LEN, &mut gzip);
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zeros(LEN, &mut zstd);
    // An RLE block makes 128 KiB of 4 bytes.
    let run = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3].into_iter();
    let run: Vec<u8> = run.chain(std::iter::repeat_n([0x02, 0x00, 0x10, b'a'], 10_000).flatten()).collect();
    let gzip = gzip.finish().unwrap();
    let nested = self::gzip(&gzip);
    for (coding, body) in
        [("gzip", gzip), ("zstd", zstd.finish().unwrap()), ("zstd", run), ("gzip, gzip", nested)]
    {
        let mut given = 0;
        let result = Decoder::new(coding).push(&body, &mut |bytes| given += bytes.len());
        assert_eq!(result, Err(ContentError::Bomb), "{coding}");
        assert!(given <= 4 * 1024 * 1024, "{coding} {given}");
    }
}

#[test]
fn a_body_over_64_mib_is_stopped_even_at_a_modest_ratio() {
    let piece = vec![b'a'; 1024 * 1024];
    let mut decoder = Decoder::new("");
    let stopped = (0..100).position(|_| decoder.push(&piece, &mut |_| {}).is_err());
    assert_eq!(stopped, Some(64));
}

#[test]
fn unlabelled_bodies_shorter_than_the_magic_are_given_at_the_end() {
    for body in [&b""[..], b"\x1f", b"\x1f\x8b", b"\x28\xb5\x2f", b"{"] {
        assert_eq!(decode("", [body]), (body.to_vec(), Ok(())));
    }
}

proptest! {
    #[test]
    fn damaged_bodies_give_the_same_result_however_they_are_split(
        which in 0usize..15,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        sizes in prop::collection::vec(1usize..700, 1..20),
    ) {
        let (coding, mut body) = BODIES[which].clone();
        for (at, value) in damage {
            let at = at.index(body.len());
            body[at] = value;
        }
        let mut rest = &body[..];
        let mut pieces = Vec::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(size.min(rest.len()));
            pieces.push(now);
            rest = later;
        }
        let (whole, whole_result) = decode(coding, [&body[..]]);
        let (split, split_result) = decode(coding, pieces);
        // Of two damaged codings, the cut decides which is noticed first.
        prop_assert_eq!(whole_result.is_ok(), split_result.is_ok(), "{:?} {:?}", whole_result, split_result);
        // What comes out before an error depends on how far each step could read ahead.
        match whole_result {
            Ok(()) => prop_assert!(whole == split),
            Err(_) => prop_assert!(whole.starts_with(&split) || split.starts_with(&whole)),
        }
    }
}
