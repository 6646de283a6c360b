use proptest::prelude::*;

use super::{Decoder, EVENT_LIMIT};

type Seen = Vec<(String, String)>;

fn play<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Seen, u64) {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.push(piece, &mut |event| {
            seen.push((event.event.to_owned(), String::from_utf8_lossy(event.data).into_owned()));
        });
    }
    (seen, decoder.skipped())
}

fn events(text: &str) -> Seen {
    play([text.as_bytes()]).0
}

fn expect(list: &[(&str, &str)]) -> Seen {
    list.iter().map(|(event, data)| ((*event).to_owned(), (*data).to_owned())).collect()
}

/// All three line ends, a byte order mark, comments, empty data, unknown fields, an unfinished end.
const STREAM: &str = "\u{feff}: hello\n\ndata: first\r\n\r\nevent: delta\rdata: a\rdata:b\rdata:  c\r\r\
    id: 7\nretry: 10\nevent:only a name\n\ndata\n\nevent: done\nda\u{df}ta: no\ndata: [DONE]\nevent: end\r\n\r\n\r\n\n\
    \u{feff}data: marked\n\ndata: x\n\r\ndata: lost";

const STREAM_EVENTS: [(&str, &str); 5] =
    [("message", "first"), ("delta", "a\nb\n c"), ("message", ""), ("end", "[DONE]"), ("message", "x")];

#[test]
fn the_rules_of_the_standard_hold() {
    assert_eq!(events(STREAM), expect(&STREAM_EVENTS));
}

#[test]
fn every_split_point_gives_the_same_events() {
    let bytes = STREAM.as_bytes();
    for first in 0..bytes.len() {
        for second in (first..bytes.len()).step_by(7) {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(play(pieces).0, expect(&STREAM_EVENTS), "{first} {second}");
        }
    }
    assert_eq!(play(bytes.chunks(1)).0, expect(&STREAM_EVENTS));
}

#[test]
fn an_event_is_told_at_its_empty_line() {
    let text = b"data: a\n\ndata: b\r\n\r\n";
    for end in 0..=text.len() {
        // The CR alone ends the empty line; its LF adds nothing.
        let expected = usize::from(end >= 9) + usize::from(end >= 19);
        assert_eq!(play([&text[..end]]).0.len(), expected, "{end}");
    }
}

#[test]
fn bytes_that_are_not_text_are_kept_in_data_and_replaced_in_names() {
    let mut data = Vec::new();
    Decoder::new().push(b"event: \xff\ndata: \xfe\0\n\n", &mut |event| {
        assert_eq!(event.event, "\u{fffd}");
        data = event.data.to_vec();
    });
    assert_eq!(data, b"\xfe\0");
}

#[test]
fn an_event_over_the_limit_is_left_out_and_counted() {
    let line = |len: usize| format!("data:{}\n", "x".repeat(len));
    let long_line = format!("{}\ndata: next\n\n", line(EVENT_LIMIT + 1));
    let many_lines = format!("{}\ndata: next\n\n", line(1000).repeat(1100));
    let long_name = format!("event: {}\ndata: a\n\ndata: next\n\n", "x".repeat(2000));
    for text in [long_line, many_lines, long_name] {
        for piece in [1000, usize::MAX] {
            let (seen, skipped) = play(text.as_bytes().chunks(piece));
            let names: Vec<_> = seen.iter().map(|(_, data)| &data[..data.len().min(20)]).collect();
            assert_eq!((names, skipped), (vec!["next"], 1));
        }
    }
    let fits = format!("{}\n", line(EVENT_LIMIT - 10));
    for piece in [1000, usize::MAX] {
        let (seen, skipped) = play(fits.as_bytes().chunks(piece));
        assert_eq!((seen[0].1.len(), skipped), (EVENT_LIMIT - 10, 0));
    }
}

#[test]
fn memory_stays_bounded_without_any_line_end() {
    let mut decoder = Decoder::new();
    for _ in 0..40 {
        decoder.push(&[b'x'; 100_000], &mut |_| {});
        assert!(decoder.line.capacity() <= 2 * EVENT_LIMIT);
    }
}

proptest! {
    #[test]
    fn random_streams_split_anywhere_give_the_same_events(
        words in prop::collection::vec(
            prop::sample::select(vec!["data", "event", ":", " ", "\r", "\n", "\r\n", "x", "\u{feff}", "id", "\n\n"]),
            0..60,
        ),
        sizes in prop::collection::vec(1usize..5, 1..40),
    ) {
        let text = words.concat();
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(size.min(rest.len()));
            pieces.push(now);
            rest = later;
        }
        prop_assert_eq!(play(pieces).0, events(&text));
    }
}
