//! Events of the DNS hook.

use crate::{Header, connect, layout};

/// Longest DNS message copied, bytes (EDNS responses are at most 1232 by common practice, RFC 9715).
pub const MAX_MESSAGE: usize = 4096;
/// The size most answers fit in.
pub const SMALL_MESSAGE: usize = 512;

layout! {
    /// A DNS answer on its way to the process that asked.
    pub struct Answer {
        /// Common part; `data_len` bytes follow.
        pub header: Header,
        /// The asking socket's flow; its `cookie` is 0 when the socket was never seen to connect.
        pub flow: connect::Flow,
        /// Cgroup v2 id of the receiving socket.
        pub cgroup_id: u64,
        /// Message length, which may exceed what was copied.
        pub message_len: u64,
    }
}
