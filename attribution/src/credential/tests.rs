use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::endpoint::Catalogue;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

/// Appears in every made-up secret, so that a leak is easy to find.
const CANARY: &str = "CANARYcanaryCANARYcanary0";

fn key(byte: u8) -> Arc<FleetKey> {
    Arc::new(FleetKey::new(&mut [byte; 32]))
}

fn print(text: &str) -> Fingerprint {
    key(1).fingerprint(&Secret::copy(text))
}

/// `canary` repeated to `length` characters.
fn body(length: usize) -> String {
    CANARY.chars().cycle().take(length).collect()
}

fn extract(provider: &str, target: &str, headers: &[(&str, &str)]) -> Vec<Found> {
    extract_with(Hint::Full, provider, target, headers)
}

fn extract_with(hint: Hint, provider: &str, target: &str, headers: &[(&str, &str)]) -> Vec<Found> {
    let get = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    Extractor::new(key(1), &CATALOGUE, hint).extract(CATALOGUE.provider(provider), target, get)
}

fn jwt(payload: &str, signature: &str) -> String {
    let encode = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    format!("{}.{}.{signature}", encode(r#"{"alg":"RS256"}"#), encode(payload))
}

#[test]
fn fingerprints_have_their_form_and_depend_on_the_key() {
    let text = print("sk-test").to_string();
    let parts: Vec<_> = text.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[1].len(), parts[2].len()), (3, "kw1", 8, 26));
    assert_eq!(parts[1], key(1).key_id());
    assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
    assert_eq!(print("sk-test").to_string(), text);
    assert_ne!(print("sk-tesT").to_string(), text);
    let other = key(2).fingerprint(&Secret::copy("sk-test")).to_string();
    assert_ne!(other[13..], text[13..]);
    assert_ne!(key(2).key_id(), key(1).key_id());
}

#[test]
fn a_fingerprint_never_changes_between_versions() {
    // Stored fingerprints must stay comparable: a change here breaks every deployed fleet. The value was also
    // computed with another HMAC implementation.
    assert_eq!(print("sk-test").as_str(), "kw1-o6ydaalb-gts2fd3zyn2yjbu5ys3jmf3ome");
}

#[test]
fn a_new_fleet_key_wipes_its_source() {
    let mut bytes = [7; KEY_BYTES];
    let made = FleetKey::new(&mut bytes);
    assert_eq!(bytes, [0; KEY_BYTES]);
    assert_eq!(made.key_id(), key(7).key_id());
}

#[test]
fn renewed_tokens_keep_their_fingerprint() {
    let claims = |sub: &str, exp: u32| {
        jwt(&format!(r#"{{"iss":"https://i","exp":{exp},"sub":"{sub}","azp":"app"}}"#), "c2ln")
    };
    assert_eq!(print(&claims("a", 1)), print(&claims("a", 2)));
    assert_ne!(print(&claims("a", 1)), print(&claims("b", 1)));
    // Without an issuer, or unreadable, a token is only itself.
    assert_ne!(print(&jwt(r#"{"sub":"a","exp":1}"#, "x")), print(&jwt(r#"{"sub":"a","exp":2}"#, "x")));
    assert_ne!(print("eyJ.%%.a"), print("eyJ.%%.b"));
    // Claims cannot be shifted from one field into the next.
    assert_ne!(
        print(&jwt(r#"{"iss":"i","sub":"ab","azp":"c"}"#, "x")),
        print(&jwt(r#"{"iss":"i","sub":"a","azp":"bc"}"#, "x"))
    );
    assert_eq!(print("tid=abc;exp=1;sku=x"), print("tid=abc;exp=2;sku=x"));
    let presigned = |date: &str| {
        let address =
            format!("bedrock.amazonaws.com/?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F{date}%2Fus-east-1");
        format!("bedrock-api-key-{}", data_encoding::BASE64.encode(address.as_bytes()))
    };
    assert_eq!(print(&presigned("20260101")), print("AKIAIOSFODNN7EXAMPLE"));
}

#[test]
fn every_shape_of_the_catalogue_is_recognized_where_it_is_used() {
    for provider in CATALOGUE.providers() {
        for shape in provider.entry.key.iter().filter(|shape| shape.kind != Kind::Jwt) {
            let prefix = shape.prefix.clone().unwrap_or_default();
            let (marker, end) =
                (shape.contains.clone().unwrap_or_default(), shape.suffix.clone().unwrap_or_default());
            let length = shape.length.map_or(60, |(least, _)| least);
            let fill = if shape.charset.as_deref().unwrap_or("a").contains('a') { "a" } else { "A" };
            let secret = format!("{prefix}{marker}{}{end}", fill.repeat(length - marker.len() - end.len()));
            let carried = format!("Bearer {secret}");
            let found = extract(provider.id(), "/", &[("authorization", &carried)]);
            assert_eq!(found.len(), 1, "{} {prefix}", provider.id());
            assert_eq!(found[0].presented_to, provider.id());
            assert_eq!(
                (found[0].kind, found[0].lifetime),
                (shape.kind, shape.lifetime),
                "{} {prefix}",
                provider.id()
            );
            assert_eq!(found[0].provider, provider.id(), "{prefix}");
            assert_eq!(found[0].fingerprint, print(&secret));
        }
    }
}

#[test]
fn the_shape_decides_not_the_header() {
    let key = format!("sk-ant-api03-{}AA", body(93));
    let bearer = format!("Bearer {key}");
    let (one, two) = (
        extract("anthropic", "/", &[("authorization", &bearer)]),
        extract("anthropic", "/", &[("x-api-key", &key)]),
    );
    assert_eq!((one[0].kind, one[0].carrier.as_str()), (Kind::ApiKey, "header:authorization"));
    assert_eq!((two[0].kind, two[0].carrier.as_str()), (Kind::ApiKey, "header:x-api-key"));
    assert_eq!(one[0].fingerprint, two[0].fingerprint);
    let token = extract("anthropic", "/", &[("authorization", &format!("Bearer sk-ant-oat01-{}", body(40)))]);
    assert_eq!((token[0].kind, token[0].lifetime), (Kind::OauthToken, Lifetime::Either));
    let wrong = extract("openai", "/", &[("authorization", &bearer)]);
    assert_eq!((wrong[0].provider.as_str(), wrong[0].presented_to.as_str()), ("anthropic", "openai"));
}

#[test]
fn aws_signatures_give_the_access_key_id() {
    let value = |id: &str, signature: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature={signature}"
        )
    };
    let (first, second) = (value("AKIAIOSFODNN7EXAMPLE", "aa"), value("AKIAIOSFODNN7EXAMPLE", "bb"));
    let found = extract("bedrock", "/", &[("authorization", &first)]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].lifetime), (Kind::AwsAccessKey, Lifetime::Static));
    assert_eq!(found[0].hint, "AKIA…MPLE");
    assert_eq!(found[0].fingerprint, extract("bedrock", "/", &[("authorization", &second)])[0].fingerprint);
    assert_eq!(found[0].fingerprint, print("AKIAIOSFODNN7EXAMPLE"));
    let query = "/model/m/invoke?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261122%2Fus-east-1";
    assert_eq!(extract("bedrock", query, &[])[0].fingerprint, found[0].fingerprint);
    let session = extract("bedrock", "/", &[("authorization", &value("ASIAIOSFODNN7EXAMPLE", "a"))]);
    assert_eq!((session[0].kind, session[0].lifetime), (Kind::AwsSessionKey, Lifetime::ShortLived));
    let temporary = extract("bedrock", "/", &[("authorization", &first), ("x-amz-security-token", "t")]);
    assert_eq!(temporary[0].lifetime, Lifetime::ShortLived);
}

#[test]
fn query_keys_and_other_schemes_are_read() {
    let key = format!("AIza{}", body(35));
    let found = extract("gemini", &format!("/v1/models/m:generateContent?alt=sse&key={key}"), &[]);
    assert_eq!((found[0].carrier.as_str(), found[0].kind), ("query:key", Kind::ApiKey));
    assert_eq!(found[0].fingerprint, print(&key));
    let token = format!("r8_{}", body(37));
    assert_eq!(
        extract("replicate", "/", &[("authorization", &format!("Token {token}"))])[0].fingerprint,
        print(&token)
    );
    let signed = extract("ollama", "/", &[("authorization", "AAAAC3NzaC1lZDI1NTE5:c2lnbmF0dXJl")]);
    assert_eq!((signed[0].kind, &signed[0].fingerprint), (Kind::PublicKey, &print("AAAAC3NzaC1lZDI1NTE5")));
    for value in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "", "Negotiate x"] {
        assert_eq!(extract("openai", "/", &[("authorization", value)]), [], "{value}");
    }
    let long = format!("Bearer {}", "a".repeat(MAX_SECRET_BYTES + 1));
    assert_eq!(extract("openai", "/", &[("authorization", &long)]), []);
}

#[test]
fn keys_of_no_known_shape_are_fingerprinted_at_known_providers_only() {
    let found = extract("sambanova", "/", &[("authorization", "Bearer something-nobody-described")]);
    assert_eq!(
        (found[0].kind, found[0].lifetime, found[0].provider.as_str()),
        (Kind::Unknown, Lifetime::Unknown, "")
    );
    assert_eq!(extract("", "/", &[("authorization", "Bearer something-nobody-described")]), []);
    let telling = format!("gsk_{}", body(52));
    let found = extract("", "/", &[("authorization", &format!("Bearer {telling}"))]);
    assert_eq!((found[0].provider.as_str(), found[0].presented_to.as_str()), ("groq", ""));
    assert_eq!(extract("", "/", &[("x-api-key", &body(32))]), [], "a shape that needs its host");
}

#[test]
fn at_a_provider_without_carriers_any_key_in_a_well_known_header_counts() {
    let added = "[[provider]]\nid = \"in_house\"\naddresses = [\"192.0.2.1:8000\"]\n";
    let catalogue = Catalogue::with_additions(added).unwrap();
    let extractor = Extractor::new(key(1), &catalogue, Hint::Full);
    // Like a key of OpenAI, but without its marker.
    let secret = format!("sk-proj-{}", body(48));
    let bearer = format!("Bearer {secret}");
    for (name, value) in [("authorization", &bearer), ("x-api-key", &secret), ("api-key", &secret)] {
        let header = |wanted: &str| (wanted == name).then_some(value.as_str());
        let found = extractor.extract(catalogue.provider("in_house"), "/", header);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(
            (&found[0].fingerprint, found[0].carrier.clone()),
            (&print(&secret), format!("header:{name}"))
        );
        assert_eq!(found[0].presented_to, "in_house");
        assert_eq!(extractor.extract(None, "/", header), []);
    }
    let basic = |name: &str| (name == "authorization").then_some("Basic dXNlcjpwYXNz");
    assert_eq!(extractor.extract(catalogue.provider("in_house"), "/", basic), []);
}

#[test]
fn a_gateway_request_can_carry_two_credentials() {
    let (own, inner) =
        (format!("cfut_{}", body(48).replace('_', "a")), format!("sk-ant-api03-{}AA", body(93)));
    let found = extract(
        "cloudflare_ai_gateway",
        "/",
        &[("x-api-key", &inner), ("cf-aig-authorization", &format!("Bearer {own}"))],
    );
    let carriers: Vec<_> = found.iter().map(|found| found.carrier.as_str()).collect();
    assert_eq!(carriers, ["header:cf-aig-authorization", "header:x-api-key"]);
    assert_eq!(found[1].provider, "anthropic");
    let found = extract("openai", "/", &[("authorization", "Bearer own-proxy-key-1"), ("x-api-key", &inner)]);
    assert_eq!(found.len(), 2);
}

#[test]
fn hints_show_as_much_as_they_may() {
    let value = format!("Bearer gsk_{}", body(52));
    let hint = |hint| extract_with(hint, "groq", "/", &[("authorization", &value)])[0].hint.clone();
    assert_eq!(hint(Hint::Full), format!("gsk_…{}", &value[value.len() - 4..]));
    assert_eq!(hint(Hint::Prefix), "gsk_…");
    assert_eq!(hint(Hint::None), "");
    assert_eq!(extract("groq", "/", &[("authorization", "Bearer short")])[0].hint, "");
    let token = format!("Bearer {}", jwt(r#"{"iss":"i","sub":"s"}"#, "sig"));
    assert_eq!(extract("azure", "/", &[("authorization", &token)])[0].hint, "eyJ…");
}

fn redact(args: &[&str]) -> Vec<String> {
    Redactor::new(key(1), &CATALOGUE).redact_args(args.iter().map(|arg| (*arg).to_owned()).collect())
}

#[test]
fn command_lines_lose_their_secrets() {
    let c = CANARY;
    let cases: Vec<Vec<String>> = [
        vec!["curl", "-H", "Authorization: Bearer C"],
        vec!["curl", "--header", "x-api-key: C"],
        vec!["curl", "--header=x-api-key: C"],
        vec!["curl", "-Happroved-key:C"],
        vec!["curl", "-u", "user:C"],
        vec!["curl", "--user", "user:C"],
        vec!["curl", "https://user:C@host/path"],
        vec!["curl", "https://C@host/path"],
        vec!["curl", "https://host/path?key=C&x=1"],
        vec!["curl", "https://host/path?x=1&api_key=C"],
        vec!["curl", "-d", r#"{"api_key": "C", "x": 1}"#],
        vec!["env", "OPENAI_API_KEY=C", "python"],
        vec!["env", "DB_PASSWORD=C with spaces C"],
        vec!["tool", "--api-key", "C"],
        vec!["tool", "--api-key=C"],
        vec!["tool", "--apiKey=C"],
        vec!["tool", "--auth-token", "C"],
        vec!["tool", "-token=C"],
        vec!["sh", "-c", "export TOKEN='C'; run --password C2 'sk-proj-C'"],
        vec!["sh", "-c", "curl -u user:C https://h"],
        vec!["sh", "-c", "curl -H 'authorization: bearer C' https://h"],
        vec!["tool", "sk-proj-C"],
        vec!["tool", "prefix:sk-ant-api03-C:suffix"],
        vec!["tool", "gsk_CC"],
        vec!["tool", "eyJhbGciOiJC.eyJzdWIiOiJC.C"],
        vec!["tool", "ghp/x", "https://x/AIzaC"],
    ]
    .into_iter()
    .map(|args| args.into_iter().map(|arg| arg.replace('C', c)).collect())
    .collect();
    for args in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let out = redact(&args).join(" ");
        assert!(!out.contains(c), "{args:?} became {out}");
    }
}

#[test]
fn a_redacted_key_is_replaced_by_the_fingerprint_it_has_on_the_wire() {
    let secret = format!("gsk_{}", body(52));
    let wire = extract("groq", "/", &[("authorization", &format!("Bearer {secret}"))]);
    for arg in [format!("Authorization: Bearer {secret}"), format!("GROQ_API_KEY={secret}"), secret.clone()] {
        let out = redact(&["x", &arg]);
        assert!(out[1].ends_with(wire[0].fingerprint.as_str()), "{}", out[1]);
    }
}

#[test]
fn ordinary_arguments_stay() {
    for args in [
        vec!["python3", "-m", "http.server", "8000"],
        vec!["node", "--max-old-space-size=4096", "/srv/app/index.js", "--model", "gpt-5"],
        vec!["curl", "-s", "https://api.openai.com/v1/models?limit=10", "-o", "/tmp/out"],
        vec!["run", "--max-tokens=100", "--key-file=/etc/x.pem", "--tokenizer=bpe", "risk-analysis-of-2026"],
        vec!["git", "clone", "https://github.com/a/b.git", "da39a3ee5e6b4b0d3255bfef95601890afd80709"],
        vec!["env", "API_KEY=$OPENAI", "DEBUG=true", "", "größe=1"],
        vec!["docker", "run", "--name", "task-runner-for-the-weekly-report", "img:latest"],
    ] {
        assert_eq!(redact(&args), args);
    }
}

#[test]
fn nothing_prints_a_secret() {
    let secret = Secret::copy(CANARY);
    let extractor = Extractor::new(key(1), &CATALOGUE, Hint::Full);
    let value = format!("Bearer sk-proj-{CANARY}T3BlbkFJ{}", body(80));
    let found = extract("openai", "/", &[("authorization", &value), ("x-api-key", &body(95))]);
    let described = extractor.describe(&secret, "file");
    let outputs = [
        format!("{secret} {secret:?} {secret:#?}"),
        format!("{:?} {:#?}", key(b'C'), key(b'C')),
        format!("{found:?} {found:#?} {described:?} {:?}", found[0].record()),
        serde_json::to_string(&found[0].record()).unwrap(),
        format!("{extractor:?} {:?}", Redactor::new(key(1), &CATALOGUE)),
        found.iter().map(|found| found.fingerprint.to_string()).collect(),
    ];
    for text in outputs {
        assert!(!text.contains(&CANARY[..8]) && !text.contains("67, 67, 67"), "{text}");
    }
}

#[test]
fn a_line_is_a_secret_without_its_line_end() {
    let line = Secret::from_line("  sk-test\r\n".to_owned());
    assert_eq!((line.len(), line.is_empty()), (7, false));
    assert_eq!(key(1).fingerprint(&line), print("sk-test"));
}

proptest! {
    #[test]
    fn any_arguments_can_be_redacted(args in prop::collection::vec("\\PC{0,40}|[a-z:=@/ \"'Bkey]{0,40}", 0..6)) {
        let count = args.len();
        let out = Redactor::new(key(1), &CATALOGUE).redact_args(args);
        prop_assert_eq!(out.len(), count);
    }

    #[test]
    fn any_header_can_be_read(value in "\\PC{0,60}|(Bearer|AWS4-|eyJ)[A-Za-z0-9./=,: -]{0,60}", target in "\\PC{0,40}") {
        for provider in ["openai", "bedrock", "gemini", "ollama", ""] {
            extract(provider, &target, &[("authorization", &value), ("x-api-key", &value)]);
        }
    }
}
