//! Dummy keys in the shapes of real ones; made when needed, so that no file holds one.

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// An OpenAI project key, always the same for `seed`.
pub fn openai(seed: &str) -> String {
    format!("sk-proj-{}T3Blbk{}{}", letters(seed, 74), "FJ", letters(&format!("{seed}/2"), 74))
}

/// An Anthropic API key, always the same for `seed`.
pub fn anthropic(seed: &str) -> String {
    format!("sk-ant-api03-{}AA", letters(seed, 93))
}

/// A Gemini API key, always the same for `seed`.
pub fn gemini(seed: &str) -> String {
    format!("AIza{}", letters(seed, 35))
}

/// A long-lived Bedrock API key, always the same for `seed`.
pub fn bedrock(seed: &str) -> String {
    format!("ABSK{}", letters(seed, 120))
}

/// An xAI API key, always the same for `seed`.
pub fn xai(seed: &str) -> String {
    format!("xai-{}", letters(seed, 80))
}

fn letters(seed: &str, count: usize) -> String {
    let block = |number: usize| Sha256::digest(format!("keywitness test key {seed} {number}"));
    let bytes = (0..).flat_map(|number| block(number).to_vec());
    bytes.take(count).map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}
