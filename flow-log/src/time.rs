//! The time at the beginning of a line, without parsing all of it.

/// What a line begins with.
const START: &[u8] = br#"{"time":""#;

/// Nanoseconds since the epoch of a line's time as this program writes it; nothing for any other form.
pub(crate) fn of_line(line: &[u8]) -> Option<u64> {
    let text = line.strip_prefix(START)?.get(..proto::time::BYTES)?;
    proto::time::quick(std::str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use proto::v1::{Record, Status, record::Body};

    use super::*;

    proptest::proptest! {
        #[test]
        fn it_reads_what_the_schema_writes(time in 1_u64..9_000_000_000_000_000_000) {
            let record = Record::new(time, Body::Status(Status::default()));
            let line = serde_json::to_vec(&record).unwrap();
            proptest::prop_assert_eq!(of_line(&line), Some(time));
        }

        #[test]
        fn any_bytes_are_no_panic(line: Vec<u8>, text in r#"\{"time":"[0-9T:.Z-]{30}"#) {
            of_line(&line);
            of_line(text.as_bytes());
        }
    }

    #[test]
    fn other_forms_have_no_quick_time() {
        for line in [r#"{"time":"2026-11-22T05:34:00Z"}"#, r#"{"kind":"flow"}"#, "", r#"{"time":""#] {
            assert_eq!(of_line(line.as_bytes()), None, "{line}");
        }
    }
}
