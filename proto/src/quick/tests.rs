//! What the quick reader reads is what serde reads, and what this program writes it does read.

use proptest::prelude::*;

use super::*;

/// One line of each kind with every field that it can have, and lines with little.
const LINES: &str = include_str!("lines.jsonl");

fn lines() -> Vec<&'static str> {
    LINES.lines().collect()
}

/// Reads `line` quickly in the place of `old`; what serde says of it must not be another thing.
fn check(line: &[u8], old: &Record) -> Option<Record> {
    let mut quick = old.clone();
    let by_serde = Record::from_any(line);
    let mut either = old.clone();
    assert_eq!(either.read_json(line).is_ok(), by_serde.is_ok(), "{}", String::from_utf8_lossy(line));
    let by_serde = by_serde.ok();
    if by_serde.is_some() {
        assert_eq!(Some(&either), by_serde.as_ref());
    }
    read(line, &mut quick)?;
    assert_eq!(Some(&quick), by_serde.as_ref(), "{}", String::from_utf8_lossy(line));
    Some(quick)
}

#[test]
fn every_field_of_every_kind_is_read_in_the_place_of_any_other_record() {
    let mut old = vec![Record::default()];
    for line in lines() {
        for other in old.clone() {
            let record = check(line.as_bytes(), &other).unwrap_or_else(|| panic!("not read: {line}"));
            assert_eq!(serde_json::to_string(&record).unwrap(), line);
            old.push(record);
        }
        let end = format!("{line}\n");
        assert!(check(end.as_bytes(), &Record::default()).is_some());
    }
}

#[test]
fn the_lines_have_every_field_of_the_schema() {
    let schema = include_str!("../../keywitness/v1/record.proto");
    let field = |line: &str| Some(line.split_once(" = ")?.0.rsplit(' ').next()?.to_owned());
    let names: Vec<String> = schema.lines().filter(|line| line.starts_with("  ")).filter_map(field).collect();
    assert!(names.len() > 150, "{}", names.len());
    for name in names {
        assert!(LINES.contains(&format!("\"{name}\":")), "no line has {name}");
    }
}

#[test]
fn other_forms_are_left_to_serde() {
    for line in [
        "",
        "{",
        "}",
        "{}{}",
        r#"{"kind":"status",}"#,
        r#"{"kind":"status" }"#,
        r#"{"kind":"a","kind":"b"}"#,
        r#"{"kind":"a","time":"2026-11-22T05:34:00.623476996Z"}"#,
        r#"{"kind":null}"#,
        r#"{"kind":"a","new":1}"#,
        r#"{"kind":"a","sensor":{"seq":1}}"#,
        r#"{"sensor":{"seq":01}}"#,
        r#"{"sensor":{"seq":-1}}"#,
        r#"{"sensor":{"seq":1.0}}"#,
        r#"{"sensor":{"seq":18446744073709551616}}"#,
        r#"{"sensor":{"host":"a"#,
        "{\"kind\":\"a\tb\"}",
        r#"{"kind":"\ud800"}"#,
        r#"{"status":{},"flow":{}}"#,
        r#"{"flow":{},"status":{}}"#,
        r#"{"time":"2026-02-30T05:34:00.623476996Z"}"#,
    ] {
        assert_eq!(check(line.as_bytes(), &Record::default()), None, "{line}");
    }
    for line in
        ["{}", r#"{"sensor":{"seq":18446744073709551615}}"#, r#"{"sensor":{"seq":0}}"#, r#"{"flow":{}}"#]
    {
        assert!(check(line.as_bytes(), &Record::default()).is_some(), "{line}");
    }
    assert_eq!(check(b"{\"kind\":\"\xff\"}", &Record::default()), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_damaged_line_is_what_serde_says(
        (line, old) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        changes in prop::collection::vec(
            (
                any::<prop::sample::Index>(),
                0..4_usize,
                prop_oneof![
                    Just(String::new()),
                    "[\"\\\\{}\\[\\],:0-9a-u\u{0}-\u{20}…]{1,3}",
                    Just(r#""kind":"a","#.to_owned()),
                    Just(r#"\u00e9\n\""#.to_owned()),
                ],
            ),
            1..4,
        ),
    ) {
        let lines = lines();
        let mut line = line.get(&lines).as_bytes().to_vec();
        for (at, gone, new) in changes {
            let at = at.index(line.len().max(1));
            line.splice(at..(at + gone).min(line.len()), new.bytes());
        }
        let old = Record::from_any(old.get(&lines).as_bytes()).unwrap();
        check(&line, &old);
    }

    #[test]
    fn any_text_comes_back(text: String, label: String, other: String) {
        let labels = [(label, other.clone()), (other, text.clone())].into();
        let flow = crate::v1::Flow {
            id: text.clone(),
            workload: Some(crate::v1::Workload { labels, ..Default::default() }),
            ..Default::default()
        };
        let record = Record::new(1, Body::Flow(Box::new(flow)));
        let line = serde_json::to_vec(&record).unwrap();
        prop_assert_eq!(check(&line, &Record::default()), Some(record));
    }

    #[test]
    fn a_text_ends_where_it_ends(bytes: Vec<u8>, end in prop::sample::select(&b"\"\\\n\x1f"[..])) {
        let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let plain: Vec<u8> = bytes.into_iter().filter(|byte| !ends(byte)).collect();
        let whole = [plain.as_slice(), &[end], plain.as_slice()].concat();
        prop_assert_eq!((plain_bytes(&whole), plain_bytes(&plain)), (plain.len(), plain.len()));
    }
}
