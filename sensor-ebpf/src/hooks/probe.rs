//! What every probe in a user program begins with: is its task watched, and what is the probe for.

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_get_attach_cookie, programs::ProbeContext};
use sensor_common::tls::cookie;

use crate::{maps::HITS, scope};

/// What a probe was told when it was attached ([`sensor_common::tls::cookie`]).
#[derive(Clone, Copy)]
pub struct Told(u64);

impl Told {
    /// Of the probe that runs, whatever its task.
    #[inline(always)]
    pub fn of(ctx: &ProbeContext) -> Self {
        // SAFETY: a probe context is valid for the run of the program.
        Self(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) })
    }

    /// Of the probe that runs, if its task is watched.
    #[inline(always)]
    pub fn if_watched(ctx: &ProbeContext) -> Option<Self> {
        scope::has_current().then(|| Self::of(ctx))
    }

    /// Index of the probed file.
    #[inline(always)]
    pub fn target(self) -> u32 {
        (self.0 & cookie::TARGET) as u32
    }

    /// Whether the function reads, or decrypts.
    #[inline(always)]
    pub fn reads(self) -> bool {
        self.0 & cookie::READ != 0
    }

    /// Argument with the address of the byte count, or 0.
    #[inline(always)]
    pub fn count_argument(self) -> u64 {
        self.0 >> cookie::COUNT_SHIFT & cookie::COUNT_MASK
    }

    /// Order of the arguments ([`sensor_common::tls::order`]).
    #[inline(always)]
    pub fn order(self) -> u64 {
        self.0 >> cookie::ORDER_SHIFT & cookie::ORDER_MASK
    }

    /// Counts a hit for the budget of the file; `None` when the file is unknown.
    #[inline(always)]
    pub fn count(self) -> Option<()> {
        let hits = HITS.get_ptr_mut(self.target())?;
        // SAFETY: the per-CPU slot is valid for this run.
        unsafe { (*hits).total += 1 };
        Some(())
    }
}
