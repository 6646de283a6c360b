//! The br coding (RFC 7932).

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::stage::{OUTPUT_BUFFER, Out};
use super::{ContentError, unsupported};

/// Largest window, as a power of two: 8 MiB, the limit that RFC 9659 sets for zstd. Encoders default to 4 MiB.
const WINDOW_BITS_LIMIT: u8 = 23;

/// One brotli stream.
pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    buffer: Vec<u8>,
    started: bool,
    ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let state = BrotliState::new_strict(
            StandardAlloc::default(),
            StandardAlloc::default(),
            StandardAlloc::default(),
        );
        Self { state, buffer: vec![0; OUTPUT_BUFFER], started: false, ended: false }
    }

    pub(super) fn at_end(&self) -> bool {
        self.ended || !self.started
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), ContentError> {
        if let (false, Some(&first)) = (self.started, bytes.first()) {
            self.started = true;
            if window_bits(first) > WINDOW_BITS_LIMIT {
                return Err(unsupported("br with a window over 8 MiB"));
            }
        }
        let (mut input_left, mut input_at) = (bytes.len(), 0);
        // Bytes after the end are ignored, as clients do.
        while !self.ended {
            let (mut room, mut given, mut total) = (self.buffer.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut input_left,
                &mut input_at,
                bytes,
                &mut room,
                &mut given,
                &mut self.buffer,
                &mut total,
                &mut self.state,
            );
            out(self.buffer.get(..given).unwrap_or_default())?;
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::NeedsMoreInput => break,
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultFailure => return Err(ContentError::Corrupt { what: "br" }),
            }
        }
        Ok(())
    }
}

/// Windows of 18 to 24 bits are told by the low four bits of the first byte (RFC 7932 section 9.1); all
/// others are smaller.
fn window_bits(first: u8) -> u8 {
    match first & 0x0f {
        0x0f => 24,
        0x0d => 23,
        _ => 22,
    }
}
