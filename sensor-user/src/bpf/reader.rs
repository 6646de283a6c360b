//! The event buffer.

use std::os::fd::{AsRawFd, RawFd};

use aya::{
    Ebpf,
    maps::{MapData, MapError, RingBuf},
};

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
}

impl AsRawFd for Reader {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
