//! Events of the cleartext hook.

use crate::{Header, layout, tls::Handle};

/// Bytes copied of a connection of which user space has not decided whether it goes to a model endpoint; it decides
/// after the first request head.
pub const MAX_UNDECIDED: u32 = 256 * 1024;
/// Events for one packet: with segmentation offload one holds up to 64 KiB.
pub const MAX_CHUNKS: usize = 5;

layout! {
    /// A part of what a cleartext connection carried; the bytes follow.
    pub struct Data {
        /// Common part; `data_len` bytes follow.
        pub header: Header,
        /// Socket cookie.
        pub cookie: u64,
        /// One of [`crate::tls::direction`].
        pub direction: u32,
        /// Payload bytes of this direction before this part, modulo 2^32. Packets come as the network brings them:
        /// again, and in any order.
        pub position: u32,
    }
}

/// What names a cleartext connection among those that are decided about. No client random ends in eight zeros.
pub const fn handle(cookie: u64) -> Handle {
    let c = cookie.to_ne_bytes();
    Handle { bytes: [c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], 0, 0, 0, 0, 0, 0, 0, 0] }
}
