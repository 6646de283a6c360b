//! The deflate coding: zlib (RFC 1950) as the standard says, or bare deflate (RFC 1951) as some servers send.

use flate2::{Decompress, FlushDecompress, Status};

use super::ContentError;
use super::stage::{OUTPUT_BUFFER, Out};

const CORRUPT: ContentError = ContentError::Corrupt { what: "deflate" };

/// A deflate stream whose wrapping its first two bytes decide.
pub(super) struct Deflate {
    /// The first byte, while alone.
    held: Vec<u8>,
    inflate: Option<Inflate>,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self { held: Vec::new(), inflate: None }
    }

    pub(super) fn at_end(&self) -> bool {
        match &self.inflate {
            None => self.held.is_empty(),
            Some(inflate) => inflate.ended,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), ContentError> {
        if let Some(inflate) = &mut self.inflate {
            // Bytes after the end are ignored, as clients do.
            return inflate.push(bytes, out, CORRUPT).map(|_| ());
        }
        self.held.extend_from_slice(bytes);
        let &[method, check, ..] = self.held.as_slice() else { return Ok(()) };
        let held = std::mem::take(&mut self.held);
        let zlib = method & 0x0f == 8 && u16::from_be_bytes([method, check]) % 31 == 0;
        let inflate = self.inflate.insert(Inflate::new(zlib));
        inflate.push(&held, out, CORRUPT).map(|_| ())
    }
}

/// One deflate stream.
pub(in crate::decode) struct Inflate {
    stream: Decompress,
    buffer: Vec<u8>,
    /// The last block is over.
    pub(in crate::decode) ended: bool,
}

impl Inflate {
    pub(in crate::decode) fn new(zlib: bool) -> Self {
        Self { stream: Decompress::new(zlib), buffer: vec![0; OUTPUT_BUFFER], ended: false }
    }

    /// Gives what `bytes` inflate to; returns how many were used, all of them unless the stream ended.
    pub(in crate::decode) fn push(
        &mut self,
        bytes: &[u8],
        out: &mut Out<'_>,
        corrupt: ContentError,
    ) -> Result<usize, ContentError> {
        let mut used = 0;
        while !self.ended {
            let rest = bytes.get(used..).unwrap_or_default();
            let (input_before, output_before) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(rest, &mut self.buffer, FlushDecompress::None);
            let taken = (self.stream.total_in() - input_before) as usize;
            let given = (self.stream.total_out() - output_before) as usize;
            used += taken;
            out(self.buffer.get(..given).unwrap_or_default())?;
            match status {
                Err(_) => return Err(corrupt),
                Ok(Status::StreamEnd) => self.ended = true,
                // Nothing moves: the input is used up and no output waits.
                Ok(_) if taken == 0 && given == 0 => break,
                Ok(_) => {}
            }
        }
        Ok(used)
    }
}
