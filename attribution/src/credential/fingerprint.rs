//! Keyed fingerprints: `kw1-<key id>-<26 base32>`, HMAC-SHA-256 truncated to 128 bits.
//!
//! Without the fleet key a fingerprint is no oracle: nobody can test guesses against it.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::identity::Identity;
use super::secret::Secret;

/// Size of a fleet key, in bytes.
pub const KEY_BYTES: usize = 32;
const FINGERPRINT_BYTES: usize = 16;
/// Five bytes are eight characters of base32.
const KEY_ID_BYTES: usize = 5;

/// The key that all sensors of a fleet share; wiped when dropped.
pub struct FleetKey {
    key: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

/// The fingerprint of a credential; safe to store, print and send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl FleetKey {
    /// Takes the key over and wipes the caller's copy.
    pub fn new(bytes: &mut [u8; KEY_BYTES]) -> Self {
        let key = Zeroizing::new(*bytes);
        bytes.zeroize();
        let id = lower(mac(&key, &[b"key id"]).get(..KEY_ID_BYTES).unwrap_or_default());
        Self { key, id }
    }

    /// Names the key without giving it away: 8 characters.
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// Another key for `purpose`, from which this one cannot be told.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let hash = mac(&self.key, &[b"derive", purpose.as_bytes()]);
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.iter_mut().zip(hash.iter()).for_each(|(to, from)| *to = *from);
        key
    }

    /// The fingerprint of `secret`. A credential that is renewed keeps it: of AWS signatures the access key id counts,
    /// of JSON Web Tokens issuer, subject and client.
    pub fn fingerprint(&self, secret: &Secret) -> Fingerprint {
        let identity = Identity::of(secret);
        let mut parts: Vec<&[u8]> = vec![b"fingerprint", identity.domain.as_bytes()];
        parts.extend(identity.parts.iter().map(|part| part.as_slice()));
        let hash = mac(&self.key, &parts);
        let hash = lower(hash.get(..FINGERPRINT_BYTES).unwrap_or_default());
        Fingerprint(format!("kw1-{}-{hash}", self.id))
    }
}

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FleetKey({})", self.id)
    }
}

impl Fingerprint {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Fingerprint {
    /// Takes a fingerprint from a record.
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` has the form of a fingerprint.
pub(super) fn is_fingerprint(text: &str) -> bool {
    let digits = |part: &str, count| {
        part.len() == count && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
    };
    let parts = text.strip_prefix("kw1-").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(id, hash)| digits(id, 8) && digits(hash, 26))
}

/// HMAC-SHA-256 (RFC 2104) of the parts, each with its length before it.
fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    // A key of any size is fine for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Zeroizing::default() };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

fn lower(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}
