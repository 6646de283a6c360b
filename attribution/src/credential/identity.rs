//! The part of a credential that stays the same while it is renewed.

use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use super::secret::Secret;
use crate::decode::json::{Keep, Pointers, PointersBuilder, Scanner, Slot};

/// Largest JWT payload that is looked at, in bytes.
const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
/// Longest claim that is used, in bytes.
const MAX_CLAIM_BYTES: usize = 256;
/// AWS access key ids: four letters for the type, sixteen more characters.
const ACCESS_KEY_BYTES: usize = 20;
/// Start of a Bedrock session key, a presigned address in base64.
const BEDROCK_SESSION: &str = "bedrock-api-key-";
/// Start of a Copilot session token, `tid=..;exp=..;..`.
const COPILOT_SESSION: &str = "tid=";

/// What is fingerprinted of a credential. Each kind has its own domain, so that no two kinds ever agree by accident.
pub(super) struct Identity {
    pub(super) domain: &'static str,
    pub(super) parts: Vec<Zeroizing<Vec<u8>>>,
}

impl Identity {
    pub(super) fn of(secret: &Secret) -> Self {
        let text = secret.expose_text();
        if let Some(id) = access_key(text).or_else(|| bedrock_session(text)) {
            return Self::new("aws access key", [id]);
        }
        if let Some(parts) = claims(text) {
            return Self { domain: "jwt", parts };
        }
        if let Some(rest) = text.strip_prefix(COPILOT_SESSION) {
            let tracking = rest.split(';').next().filter(|id| !id.is_empty()).map(str::to_owned);
            if let Some(id) = tracking {
                return Self::new("copilot session", [id]);
            }
        }
        Self { domain: "secret", parts: vec![Zeroizing::new(secret.expose().to_vec())] }
    }

    fn new<const N: usize>(domain: &'static str, parts: [String; N]) -> Self {
        Self { domain, parts: parts.map(|part| Zeroizing::new(part.into_bytes())).into() }
    }
}

/// The text itself when it is an access key id (AWS IAM user guide, "unique identifiers").
fn access_key(text: &str) -> Option<String> {
    let form = text.len() == ACCESS_KEY_BYTES && (text.starts_with("AKIA") || text.starts_with("ASIA"));
    let plain = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    (form && plain).then(|| text.to_owned())
}

/// The access key id inside a presigned Bedrock address.
fn bedrock_session(text: &str) -> Option<String> {
    let body = text.strip_prefix(BEDROCK_SESSION)?.trim_end_matches('=');
    let address = Zeroizing::new(data_encoding::BASE64_NOPAD.decode(body.as_bytes()).ok()?);
    let address = std::str::from_utf8(&address).ok()?;
    let (_, credential) = address.split_once("X-Amz-Credential=")?;
    access_key(credential.get(..ACCESS_KEY_BYTES)?)
}

/// Whether `text` has the three parts of a signed JSON Web Token (RFC 7515 section 3.1).
pub(super) fn is_jwt(text: &str) -> bool {
    let mut parts = text.split('.');
    let base64 = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.starts_with("eyJ")
        && parts.by_ref().take(3).filter(|part| base64(part)).count() == 3
        && parts.next().is_none()
}

/// Issuer, subject and client of a JSON Web Token; nothing when it names no issuer or neither of the others.
fn claims(text: &str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    if !is_jwt(text) {
        return None;
    }
    let payload = text.split('.').nth(1).filter(|payload| payload.len() <= MAX_PAYLOAD_BYTES)?;
    let payload = Zeroizing::new(data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?);
    let wanted = claim_pointers()?;
    let mut scanner = Scanner::new(wanted.pointers.clone());
    scanner.push(&payload);
    let first =
        |slots: &[Slot]| slots.iter().find_map(|slot| scanner.text(*slot)).unwrap_or_default().to_owned();
    let (issuer, subject, client) = (first(&wanted.issuer), first(&wanted.subject), first(&wanted.client));
    let named = !subject.is_empty() || !client.is_empty();
    (named && !issuer.is_empty())
        .then(|| [issuer, subject, client].map(|claim| Zeroizing::new(claim.into_bytes())).into())
}

struct ClaimPointers {
    pointers: Arc<Pointers>,
    issuer: Vec<Slot>,
    subject: Vec<Slot>,
    client: Vec<Slot>,
}

/// RFC 7519 section 4.1 and, for the client, RFC 9068 section 2.2, OpenID Connect, Entra ID and Okta.
fn claim_pointers() -> Option<&'static ClaimPointers> {
    static POINTERS: OnceLock<Option<ClaimPointers>> = OnceLock::new();
    POINTERS
        .get_or_init(|| {
            let mut builder = PointersBuilder::default();
            let mut want = |list: &[&str]| -> Option<Vec<Slot>> {
                list.iter().map(|at| builder.want(at, Keep::First, MAX_CLAIM_BYTES).ok()).collect()
            };
            let issuer = want(&["/iss"])?;
            let subject = want(&["/sub", "/oid"])?;
            let client = want(&["/client_id", "/azp", "/appid", "/cid"])?;
            Some(ClaimPointers { pointers: Arc::new(builder.build()), issuer, subject, client })
        })
        .as_ref()
}
