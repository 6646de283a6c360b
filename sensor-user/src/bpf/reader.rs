//! The event buffer.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{MapData, MapError, RingBuf},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Reads raw events in the order in which the kernel reserved them.
pub struct Reader {
    ring: RingBuf<MapData>,
}

impl Reader {
    /// Takes the buffer out of the loaded object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let map =
            ebpf.take_map("EVENTS").ok_or_else(|| MapError::InvalidName { name: "EVENTS".to_owned() })?;
        Ok(Self { ring: RingBuf::try_from(map)? })
    }

    /// Hands up to `limit` pending events to `each`; returns how many there were. The bytes are the
    /// kernel's own and are given back after each call.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(item) = self.ring.next() else { break };
            each(&item);
            count += 1;
        }
        count
    }

    /// Resolves when the kernel wakes the reader.
    pub fn waiter(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let fd = self.ring.as_fd().try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` keeps its descriptor open and the same until it is dropped.
        unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)
    }
}
