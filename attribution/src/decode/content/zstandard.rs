//! The zstd coding (RFC 8878).

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::stage::{OUTPUT_BUFFER, Out};
use super::{ContentError, unsupported};

/// Largest window, as a power of two: 8 MiB (RFC 9659 section 3).
const WINDOW_BITS_LIMIT: u32 = 23;

/// Frames one after another.
pub(super) struct Zstandard {
    frames: Decoder<'static>,
    buffer: Vec<u8>,
    /// Every frame so far is whole.
    at_end: bool,
}

impl Zstandard {
    /// An error when the decoder cannot be set up.
    pub(super) fn new() -> Result<Self, ContentError> {
        let mut frames = Decoder::new().map_err(|_| unsupported("zstd"))?;
        frames.set_parameter(DParameter::WindowLogMax(WINDOW_BITS_LIMIT)).map_err(|_| unsupported("zstd"))?;
        Ok(Self { frames, buffer: vec![0; OUTPUT_BUFFER], at_end: true })
    }

    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), ContentError> {
        let mut input = InBuffer::around(bytes);
        loop {
            let mut output = OutBuffer::around(self.buffer.as_mut_slice());
            let result = self.frames.run(&mut input, &mut output);
            let given = output.as_slice();
            let filled = given.len() == OUTPUT_BUFFER;
            out(given)?;
            // 0 tells that a frame is over; more input starts the next.
            let hint = result.map_err(|_| ContentError::Corrupt { what: "zstd" })?;
            self.at_end = hint == 0;
            if input.pos() == bytes.len() && !filled {
                return Ok(());
            }
        }
    }
}
