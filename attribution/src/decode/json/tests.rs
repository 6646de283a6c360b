use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn scan(pointers: &[(&str, Keep)], chunks: &[&[u8]]) -> (Vec<Option<Scalar>>, State, usize) {
    let mut builder = PointersBuilder::default();
    let slots: Vec<_> = pointers.iter().map(|(at, keep)| builder.want(at, *keep, 64).unwrap()).collect();
    let mut scanner = Scanner::new(Arc::new(builder.build()));
    let mut used = 0;
    for chunk in chunks {
        used += scanner.push(chunk);
    }
    scanner.finish();
    (slots.iter().map(|slot| scanner.get(*slot).cloned()).collect(), scanner.state(), used)
}

fn text(text: &str) -> Option<Scalar> {
    Some(Scalar::Text { text: text.to_owned(), cut: false })
}

fn number(text: &str) -> Option<Scalar> {
    Some(Scalar::Number(text.to_owned()))
}

const DOCUMENT: &str = r#" {"messages":[{"content":"a \"model\": {x} \\","n":[1,[2],{}]},{}],
 "model" : "gpt\u002d4\uD83D\uDE00é\n","stream":true,"x":null,"usage":{"in":12,"out":-1.5e-3,"deep":{"in":7}},
 "list":[{"v":1},{"w":2},{"v":3}],"mo\u0064el2":"k"} "#;

const WANTED: [(&str, Keep); 9] = [
    ("/model", Keep::First),
    ("/stream", Keep::First),
    ("/x", Keep::First),
    ("/usage/in", Keep::First),
    ("/usage/out", Keep::First),
    ("/list/*/v", Keep::First),
    ("/list/*/w", Keep::Last),
    ("/model2", Keep::First),
    ("/messages", Keep::First),
];

fn expected() -> Vec<Option<Scalar>> {
    vec![
        text("gpt-4😀é\n"),
        Some(Scalar::Bool(true)),
        None,
        number("12"),
        number("-1.5e-3"),
        number("1"),
        number("2"),
        text("k"),
        None,
    ]
}

#[test]
fn values_at_the_pointers_are_found_and_nothing_else() {
    let (found, state, _) = scan(&WANTED, &[DOCUMENT.as_bytes()]);
    assert_eq!(found, expected());
    assert_eq!(state, State::Complete);
}

#[test]
fn every_split_in_two_gives_the_same() {
    let bytes = DOCUMENT.as_bytes();
    for at in 0..=bytes.len() {
        let (left, right) = bytes.split_at(at);
        assert_eq!(scan(&WANTED, &[left, right]).0, expected(), "split at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(scan(&WANTED, &single).0, expected());
}

#[test]
fn every_prefix_gives_a_part_of_the_values_and_is_not_complete() {
    let bytes = DOCUMENT.trim_end().as_bytes();
    for at in 0..bytes.len() {
        let (found, state, _) = scan(&WANTED, &[&bytes[..at]]);
        assert_eq!(state, State::Reading, "prefix {at}");
        for (seen, whole) in found.iter().zip(expected()) {
            assert!(seen.is_none() || *seen == whole, "prefix {at}");
        }
    }
}

#[test]
fn the_last_or_the_first_value_is_kept_as_asked() {
    let body = br#"{"a":1,"a":2}"#;
    assert_eq!(scan(&[("/a", Keep::First)], &[body]).0, [number("1")]);
    assert_eq!(scan(&[("/a", Keep::Last)], &[body]).0, [number("2")]);
    assert_eq!(scan(&[("/*/a", Keep::Last)], &[br#"[{"a":1},{"a":"z"},3]"#]).0, [text("z")]);
}

#[test]
fn reading_stops_at_the_end_of_the_document() {
    let (_, state, used) = scan(&[], &[b"{} {\"a\":1}"]);
    assert_eq!((state, used), (State::Complete, 2));
    assert_eq!(scan(&[], &[b" 12 "]).1, State::Complete);
    assert_eq!(scan(&[], &[b"12"]).1, State::Complete);
}

#[test]
fn what_is_not_json_is_invalid() {
    for bad in [
        "x",
        "{a:1}",
        "{\"a\" 1}",
        "[1 2]",
        "{]",
        "[}",
        "[1}",
        "{\"a\":1]",
        "tru ",
        "{\"a\":nul}",
        "[1.]",
        "[01]",
        "[,]",
        "{,}",
        "[-]",
        "}",
        "<html>",
        "\u{1f}",
    ] {
        assert_eq!(scan(&[("/a", Keep::Last)], &[bad.as_bytes()]).1, State::Invalid, "{bad:?}");
    }
}

#[test]
fn depth_is_limited() {
    let deep = vec![b'['; MAX_DEPTH];
    assert_eq!(scan(&[], &[&deep]).1, State::Reading);
    assert_eq!(scan(&[], &[&deep, b"["]).1, State::Invalid);
}

#[test]
fn long_values_are_cut_at_the_limit_and_long_keys_do_not_match() {
    let body = format!(r#"{{"a":"{}","{}":1}}"#, "é".repeat(90), "k".repeat(500));
    let (found, state, _) = scan(&[("/a", Keep::Last)], &[body.as_bytes()]);
    assert_eq!(found, [Some(Scalar::Text { text: "é".repeat(32), cut: true })]);
    assert_eq!(state, State::Complete);
}

#[test]
fn a_long_number_is_skipped_not_stored() {
    let body = format!("{{\"a\":{}}}", "9".repeat(1000));
    assert_eq!(scan(&[("/a", Keep::Last)], &[body.as_bytes()]), (vec![None], State::Complete, body.len()));
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    assert_eq!(scan(&[("/a", Keep::Last)], &[br#"{"a":"\ud83dx"}"#]).0, [text("\u{fffd}x")]);
    assert_eq!(scan(&[("/a", Keep::Last)], &[br#"{"a":"\uzzzz"}"#]).0, [text("\u{fffd}zzzz")]);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        "[\\x00-\\x7f]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[ab\"\\\\é]{0,3}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_in_any_split_agrees_with_a_full_parser(
        value in json(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        pretty in any::<bool>(),
    ) {
        let body = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &body.as_bytes()[pair[0]..pair[1]]).collect();
        let (found, state, _) = scan(&[("/a", Keep::Last), ("/a/b", Keep::Last)], &chunks);
        prop_assert_eq!(state, State::Complete);
        for (pointer, seen) in ["/a", "/a/b"].iter().zip(found) {
            let whole = match value.pointer(pointer) {
                Some(serde_json::Value::Bool(flag)) => Some(Scalar::Bool(*flag)),
                Some(serde_json::Value::Number(found)) => number(&found.to_string()),
                Some(serde_json::Value::String(found)) => text(found),
                _ => None,
            };
            if !matches!(seen, Some(Scalar::Text { cut: true, .. })) {
                prop_assert_eq!(seen, whole);
            }
        }
    }

    #[test]
    fn any_bytes_end_in_a_state(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, _, used) = scan(&[("/a", Keep::Last)], &[&bytes]);
        prop_assert!(used <= bytes.len());
    }
}
