//! The one type that holds raw credentials.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A raw credential: wiped when dropped, never printed, never serialized.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes `bytes` over; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies `text`; the source is the caller's to wipe.
    pub(super) fn copy(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }

    /// Takes a line as read from a terminal or pipe: white space at both ends is not part of the secret.
    pub fn from_line(mut line: String) -> Self {
        let secret = Self::copy(line.trim());
        line.zeroize();
        secret
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The raw bytes, for this module only.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The raw text, for this module only; empty when it is not UTF-8.
    pub(super) fn expose_text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
