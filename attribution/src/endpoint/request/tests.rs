use std::sync::LazyLock;

use super::*;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fn facts(headers: &[(&str, &str)], chunks: &[&[u8]], model: Option<&str>) -> Facts {
    let get = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let mut request = RequestFacts::new(&CATALOGUE, get);
    for chunk in chunks {
        request.push(chunk);
    }
    request.facts(model)
}

const BODY: &str = r#"{"messages":[{"role":"user","content":"{\"model\":\"no\"}"}],"model":"claude-x","stream":true,"stream_options":
 {"include_usage":true},"metadata":{"user_id":"{\"device_id\":\"d\",\"session_id\":\"0a1b-2c\"}"}}"#;

#[test]
fn model_stream_and_session_come_from_the_body_in_any_split() {
    let expected = Facts {
        model: Some("claude-x".to_owned()),
        stream: Some(true),
        include_usage: Some(true),
        session_id: Some("0a1b-2c".to_owned()),
        complete: true,
    };
    for at in 0..=BODY.len() {
        let (left, right) = BODY.as_bytes().split_at(at);
        assert_eq!(facts(&[], &[left, right], None), expected, "split at {at}");
    }
    let cut = facts(&[], &[&BODY.as_bytes()[..100]], None);
    assert_eq!((cut.model.as_deref(), cut.complete), (Some("claude-x"), false));
}

#[test]
fn the_model_of_the_path_goes_first() {
    assert_eq!(facts(&[], &[BODY.as_bytes()], Some("arn")).model.as_deref(), Some("arn"));
    assert_eq!(facts(&[], &[], Some("arn")).model.as_deref(), Some("arn"));
    assert_eq!(facts(&[], &[b"not json"], None), Facts::default());
}

#[test]
fn sessions_of_known_clients_are_found() {
    for (headers, body, session) in [
        (vec![("x-claude-code-session-id", "s1"), ("session-id", "s2")], BODY, Some("s1")),
        (vec![("session-id", "s2")], "{}", Some("s2")),
        (vec![("x-codex-turn-metadata", r#"{"turn_id":"t","session_id":"s3"}"#)], "{}", Some("s3")),
        (vec![("session-id", "two words")], "{}", None),
        (vec![], r#"{"client_metadata":{"session_id":"s4"}}"#, Some("s4")),
        (vec![], r#"{"request":{"session_id":"s5"}}"#, Some("s5")),
        (vec![], r#"{"metadata":{"user_id":"user_ab_account_cd_session_s6"}}"#, Some("s6")),
        (vec![], r#"{"metadata":{"user_id":"someone@example.org"}}"#, None),
    ] {
        assert_eq!(
            facts(&headers, &[body.as_bytes()], None).session_id.as_deref(),
            session,
            "{headers:?} {body}"
        );
    }
}
