//! The flow table: slots selected by socket cookie, without locks.
//!
//! A slot is filled with its cookie written last, and a copy counts only if the cookie is the same after
//! it as before: a half-written or replaced entry is never taken for the socket's own.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use sensor_common::connect::{Flow, slot};

use crate::maps::FLOWS;

/// A flow's slot, which holds the flow as long as it names the same cookie.
#[derive(Clone, Copy)]
pub struct Entry {
    at: *mut Flow,
    cookie: u64,
}

/// The entry of a socket, if it is still there.
#[inline(always)]
pub fn find(cookie: u64) -> Option<Entry> {
    let entry = Entry { at: FLOWS.get_ptr_mut(slot(cookie))?, cookie };
    (cookie != 0 && entry.is_own()).then_some(entry)
}

/// Puts a flow into its slot, over whatever older flow is there.
#[inline(always)]
pub fn put(flow: &Flow) -> Option<()> {
    let at = FLOWS.get_ptr_mut(slot(flow.cookie))?;
    // Volatile accesses stay in order: readers see cookie 0 until the new flow is whole.
    // SAFETY: an array slot is valid for the run of the program.
    unsafe {
        write_volatile(addr_of_mut!((*at).cookie), 0);
        write_volatile(at, Flow { cookie: 0, ..*flow });
        write_volatile(addr_of_mut!((*at).cookie), flow.cookie);
    }
    Some(())
}

impl Entry {
    /// The socket.
    #[inline(always)]
    pub fn cookie(self) -> u64 {
        self.cookie
    }

    /// Whether the slot is still this socket's.
    #[inline(always)]
    pub fn is_own(self) -> bool {
        // SAFETY: an array slot is valid for the run of the program.
        unsafe { read_volatile(addr_of!((*self.at).cookie)) == self.cookie }
    }

    /// Copies the flow; only worth anything if [`Entry::is_own`] holds after it.
    ///
    /// # Safety
    ///
    /// `to` must be valid for writes.
    #[inline(always)]
    pub unsafe fn copy_to(self, to: *mut Flow) {
        // SAFETY: an array slot is valid for the run of the program. Word by word, because a copy on the
        // stack would be too large for a program, and volatile, so that all of it is before the check.
        unsafe {
            for word in 0..size_of::<Flow>() / 8 {
                write_volatile(to.cast::<u64>().add(word), read_volatile(self.at.cast::<u64>().add(word)));
            }
        }
    }

    /// The flow, to look at and change. Packets of one socket leave one after the other, so nobody else
    /// changes it unless the slot is taken over; then a change is lost, never a copy believed.
    #[inline(always)]
    pub fn flow<'a>(self) -> &'a mut Flow {
        // SAFETY: as above; all fields are integers, valid whatever they hold.
        unsafe { &mut *self.at }
    }

    /// Empties the slot.
    #[inline(always)]
    pub fn clear(self) {
        // SAFETY: as above.
        unsafe { write_volatile(addr_of_mut!((*self.at).cookie), 0) };
    }
}
