//! The part of a message after its head.

use super::chunked::{Chunked, Step};
use crate::decode::http::BrokenReason;

/// Position in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes are left, never 0.
    Fixed { left: u64 },
    /// Chunked.
    Chunked(Chunked),
    /// To the end of the connection.
    UntilClose,
}

/// What a piece of input held.
pub(super) struct Advance {
    /// Input bytes used, data and framing.
    pub(super) used: usize,
    /// The body ended with the last of them.
    pub(super) done: bool,
}

impl Body {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked::start())
    }

    /// `None` when `len` is 0.
    pub(super) fn fixed(len: u64) -> Option<Self> {
        (len > 0).then_some(Self::Fixed { left: len })
    }

    /// Reads body bytes from the front of `bytes` and hands the data among them to `data`.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<Advance, BrokenReason> {
        let mut used = 0;
        let mut done = false;
        while !done && used < bytes.len() {
            let rest = bytes.get(used..).unwrap_or_default();
            let taken = match self {
                Self::UntilClose => Step::Data(rest.len()),
                Self::Fixed { left } => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    done = *left == 0;
                    Step::Data(taken)
                }
                Self::Chunked(chunked) => {
                    let step = chunked.step(rest)?;
                    done = *chunked == Chunked::Done;
                    step
                }
            };
            used += match taken {
                Step::Framing(len) => len,
                Step::Data(len) => {
                    data(rest.get(..len).unwrap_or_default());
                    len
                }
            };
        }
        Ok(Advance { used, done })
    }

    /// The end of the connection is the end of the body.
    pub(super) fn ends_at_close(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// Passes over `n` bytes that were not captured. Says whether the body ended with them; an error when
    /// they may have held framing.
    pub(super) fn skip(&mut self, n: u64) -> Result<bool, BrokenReason> {
        match self {
            Self::UntilClose => Ok(false),
            Self::Fixed { left } => {
                *left = left.checked_sub(n).ok_or(BrokenReason::Gap)?;
                Ok(*left == 0)
            }
            Self::Chunked(chunked) => chunked.skip(n).then_some(false).ok_or(BrokenReason::Gap),
        }
    }
}
