//! Keys of Initial packets (RFC 9001 section 5, RFC 9369 section 3.3).

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::{Aes128Gcm, Nonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::{SAMPLE_LEN, Version};

/// Salt of the initial secret (RFC 9001 section 5.2).
const SALT_1: [u8; 20] = *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a";
/// The same for version 2 (RFC 9369 section 3.3.1).
const SALT_2: [u8; 20] = *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9";
/// Longest packet number, in bytes: the sample starts where it would end (RFC 9001 section 5.4.2).
const NUMBER_LIMIT: usize = 4;

/// What a client's Initial packets are protected with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) key: [u8; 16],
    pub(super) iv: [u8; 12],
    pub(super) header: [u8; 16],
}

impl Keys {
    /// From the destination connection id of the client's first packet.
    pub(super) fn of_client(version: Version, destination: &[u8]) -> Self {
        let (salt, prefix) = match version {
            Version::One => (SALT_1, "quic"),
            Version::Two => (SALT_2, "quicv2"),
        };
        let initial = mac(&salt, &[destination]);
        let client: [u8; 32] = expand(&initial, "client in");
        Self {
            key: expand(&client, &format!("{prefix} key")),
            iv: expand(&client, &format!("{prefix} iv")),
            header: expand(&client, &format!("{prefix} hp")),
        }
    }

    /// The frames of a packet whose number starts at `number_at`; `None` when it is protected with other keys.
    pub(super) fn open(&self, packet: &[u8], number_at: usize) -> Option<Vec<u8>> {
        let sample = packet.get(number_at + NUMBER_LIMIT..)?.first_chunk::<SAMPLE_LEN>()?;
        let mask = self.mask(sample);
        let first = packet.first()? ^ (mask.first()? & 0x0f);
        let number_len = usize::from(first & 3) + 1;
        let mut header = packet.get(..number_at + number_len)?.to_vec();
        *header.first_mut()? = first;
        for (byte, mask) in header.get_mut(number_at..)?.iter_mut().zip(mask.get(1..)?) {
            *byte ^= mask;
        }
        // The first packets have numbers that need no more than the bytes sent.
        let nonce = self.nonce(header.get(number_at..)?);
        let payload = Payload { msg: packet.get(header.len()..)?, aad: &header };
        let cipher = Aes128Gcm::new_from_slice(&self.key).ok()?;
        cipher.decrypt(&Nonce::from(nonce), payload).ok()
    }

    pub(super) fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; SAMPLE_LEN] {
        let mut block = (*sample).into();
        if let Ok(cipher) = Aes128::new_from_slice(&self.header) {
            cipher.encrypt_block(&mut block);
        }
        block.into()
    }

    pub(super) fn nonce(&self, number: &[u8]) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *byte ^= number;
        }
        nonce
    }
}

/// HKDF-Expand-Label without context (RFC 8446 section 7.1), for lengths of one hash.
fn expand<const N: usize>(secret: &[u8], label: &str) -> [u8; N] {
    let label = ["tls13 ", label].concat();
    let length = [0, N as u8, label.len() as u8];
    let hash = mac(secret, &[&length, label.as_bytes(), &[0, 1]]);
    hash.first_chunk().copied().unwrap_or([0; N])
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
