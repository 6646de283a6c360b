//! The only code that puts events into the ring buffer, and the counters of what it could not put.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_ringbuf_query},
    maps::ring_buf::RingBufEntry,
};
use sensor_common::{ABI, Header, cause};

use crate::maps::{COUNTERS, EVENTS};

/// Pending bytes at which the reader is woken although nothing is urgent. Below it the reader's own
/// tick finds the events, so that a busy host does not pay one wake-up for each.
const WAKE_BYTES: u64 = 256 << 10;

/// An event with room for the bytes that follow its fixed part.
#[repr(C)]
pub struct Event<T, const N: usize> {
    /// Fixed part; its header says how many of the bytes are used.
    pub fixed: T,
    /// What follows.
    pub bytes: [u8; N],
}

/// Whether the reader must act on an event at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Wake the reader now: it may have to attach before the next system call of the process.
    Now,
    /// The reader's tick is soon enough.
    Tick,
}

/// Counts an event of `kind` that should be sent.
#[inline(always)]
pub fn produced(kind: u16) {
    if let Some(counters) = COUNTERS.get_ptr_mut(u32::from(kind)) {
        // SAFETY: the per-CPU slot is valid for this run; a torn count is impossible on one CPU.
        unsafe { (*counters).produced += 1 };
    }
}

/// Counts an event of `kind` that is not sent, and why.
#[inline(always)]
pub fn lost(kind: u16, cause: u32) {
    if let Some(counters) = COUNTERS.get_ptr_mut(u32::from(kind))
        && cause < cause::COUNT
    {
        // SAFETY: as above, and the index was just checked.
        unsafe { (*counters).lost[cause as usize] += 1 };
    }
}

/// Room for an event of `kind`; counted as produced, and as lost when there is none.
#[inline(always)]
pub fn reserve<T: 'static>(kind: u16) -> Option<RingBufEntry<T>> {
    produced(kind);
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        lost(kind, cause::RING_FULL);
    }
    entry
}

/// The header of an event with `data_len` variable bytes.
#[inline(always)]
pub fn header(kind: u16, data_len: u32) -> Header {
    // SAFETY: the helper has no preconditions.
    Header { kind, abi: ABI, data_len, time_ns: unsafe { bpf_ktime_get_boot_ns() } }
}

/// Hands a filled entry to the reader.
#[inline(always)]
pub fn submit<T>(entry: RingBufEntry<T>, urgency: Urgency) {
    // SAFETY: EVENTS is a ring buffer map.
    let wake = urgency == Urgency::Now
        || unsafe { bpf_ringbuf_query(core::ptr::addr_of!(EVENTS) as *mut _, BPF_RB_AVAIL_DATA.into()) }
            >= WAKE_BYTES;
    entry.submit(if wake { BPF_RB_FORCE_WAKEUP.into() } else { BPF_RB_NO_WAKEUP.into() });
}

/// Hands a filled entry to the reader if what it was filled from `held`; else counts it as lost to the
/// table.
#[inline(always)]
pub fn submit_if<T>(entry: RingBufEntry<T>, held: bool, kind: u16, urgency: Urgency) -> bool {
    if held {
        submit(entry, urgency);
    } else {
        entry.discard(0);
        lost(kind, cause::TABLE_FULL);
    }
    held
}
