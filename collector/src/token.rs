//! Tokens of those who ask: 256 random bits, of which the collector keeps the hash.

use sha2::{Digest, Sha256};

/// What a token begins with, so that scanners for secrets find it.
const PREFIX: &str = "kwt_";
/// Random bytes of a token.
const BYTES: usize = 32;

/// A new token, and what is kept of it. An error when the system has no randomness.
pub fn make() -> anyhow::Result<(String, [u8; 32])> {
    let mut bytes = [0; BYTES];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("{PREFIX}{digits}");
    let hash = hash(&token);
    Ok((token, hash))
}

/// What is kept of a token. It needs no salt: nobody can guess 256 random bits.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_found_by_their_hash() {
        let ((one, kept), (other, _)) = (make().unwrap(), make().unwrap());
        assert_ne!(one, other);
        assert_eq!(hash(&one), kept);
        assert_eq!(one.len(), PREFIX.len() + 2 * BYTES);
    }
}
