//! One coding of a body.

use super::brotli::Brotli;
use super::deflate::Deflate;
use super::guard::Guard;
use super::gzip::Gzip;
use super::zstandard::Zstandard;
use super::{ContentError, unsupported};

/// Output buffer of one decoder call, in bytes.
pub(super) const OUTPUT_BUFFER: usize = 16 * 1024;

/// Takes decoded bytes; an error stops the decoder.
pub(super) type Out<'a> = dyn FnMut(&[u8]) -> Result<(), ContentError> + 'a;

/// A coding and its limits.
pub(super) struct Stage {
    coding: Coding,
    guard: Guard,
}

enum Coding {
    Gzip(Box<Gzip>),
    Deflate(Box<Deflate>),
    Brotli(Box<Brotli>),
    Zstandard(Zstandard),
}

impl Stage {
    /// By its registered name (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
    pub(super) fn named(name: &str) -> Result<Self, ContentError> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Ok(Self::gzip()),
            "deflate" => Ok(Self::new(Coding::Deflate(Box::new(Deflate::new())))),
            "br" => Ok(Self::new(Coding::Brotli(Box::new(Brotli::new())))),
            "zstd" => Self::zstd(),
            _ => Err(unsupported(name)),
        }
    }

    pub(super) fn gzip() -> Self {
        Self::new(Coding::Gzip(Box::new(Gzip::new())))
    }

    pub(super) fn zstd() -> Result<Self, ContentError> {
        Zstandard::new().map(|zstd| Self::new(Coding::Zstandard(zstd)))
    }

    fn new(coding: Coding) -> Self {
        Self { coding, guard: Guard::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), ContentError> {
        self.guard.took(bytes.len());
        let guard = &mut self.guard;
        let out = &mut |bytes: &[u8]| {
            guard.gave(bytes.len())?;
            out(bytes)
        };
        match &mut self.coding {
            Coding::Gzip(coding) => coding.push(bytes, out),
            Coding::Deflate(coding) => coding.push(bytes, out),
            Coding::Brotli(coding) => coding.push(bytes, out),
            Coding::Zstandard(coding) => coding.push(bytes, out),
        }
    }

    /// An error when the coding is in the middle of something.
    pub(super) fn finish(&self) -> Result<(), ContentError> {
        let (whole, what) = match &self.coding {
            Coding::Gzip(coding) => (coding.at_end(), "gzip"),
            Coding::Deflate(coding) => (coding.at_end(), "deflate"),
            Coding::Brotli(coding) => (coding.at_end(), "br"),
            Coding::Zstandard(coding) => (coding.at_end(), "zstd"),
        };
        if whole { Ok(()) } else { Err(ContentError::Corrupt { what }) }
    }
}
