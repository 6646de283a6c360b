//! The exported record schema (`keywitness.v1`) and its JSON form.
//!
//! Fields of the JSON form follow the .proto file; unknown is absent. A record written by an older
//! sensor reads back with defaults for what it did not know.

/// Messages of package `keywitness.v1`, generated from `proto/keywitness/v1`.
#[expect(clippy::all, missing_docs, reason = "generated code")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/keywitness.v1.rs"));
}

mod json;
mod parts;
mod quick;
pub mod time;

use v1::record::Body;

impl v1::Record {
    /// A record of `body` at `time` (nanoseconds since the epoch), its `kind` taken from the body.
    pub fn new(time: u64, body: Body) -> Self {
        let kind = match &body {
            Body::Flow(_) => "flow",
            Body::ModelCall(_) => "model_call",
            Body::CredentialAccess(_) => "credential_access",
            Body::Session(_) => "session",
            Body::Finding(_) => "finding",
            Body::Status(_) => "status",
        };
        Self { time, sensor: None, kind: kind.to_owned(), body: Some(body) }
    }
}

fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::v1::*;
    use super::*;

    #[test]
    fn json_has_the_body_under_its_kind_and_nothing_for_the_unknown() {
        let call = ModelCall {
            binding: "unbound".into(),
            tokens: Some(Tokens { input: Some(0), quality: "exact".into(), ..Default::default() }),
            ..Default::default()
        };
        let record = Record::new(1_700_000_000_123_456_789, Body::ModelCall(Box::new(call)));
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(
            json,
            r#"{"time":"2023-11-14T22:13:20.123456789Z","kind":"model_call","model_call":{"binding":"unbound","tokens":{"input":0,"quality":"exact"}}}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }
}
