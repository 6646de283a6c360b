//! Limits on what a body may expand to.

use super::ContentError;

/// Most output of one body or one coding, in bytes.
const OUTPUT_LIMIT: u64 = 64 * 1024 * 1024;
/// Output that is never questioned, in bytes; real bodies of this size can be very repetitive.
const FREE_OUTPUT: u64 = 4 * 1024 * 1024;
/// Most output bytes for each input byte beyond that.
const RATIO_LIMIT: u64 = 250;

/// Counts both sides of a decoder.
pub(in crate::decode) struct Guard {
    input: u64,
    output: u64,
}

impl Guard {
    pub(in crate::decode) fn new() -> Self {
        Self { input: 0, output: 0 }
    }

    pub(in crate::decode) fn took(&mut self, bytes: usize) {
        self.input = self.input.saturating_add(bytes as u64);
    }

    /// An error when `bytes` more of output are too many.
    pub(in crate::decode) fn gave(&mut self, bytes: usize) -> Result<(), ContentError> {
        self.output = self.output.saturating_add(bytes as u64);
        let believed = self.input.saturating_mul(RATIO_LIMIT).clamp(FREE_OUTPUT, OUTPUT_LIMIT);
        if self.output > believed {
            return Err(ContentError::Bomb);
        }
        Ok(())
    }
}
