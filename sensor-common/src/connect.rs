//! Events and state of the connect hooks.

use crate::{Header, Task, layout};

/// Flows followed at one time; a power of two, because a flow's slot is its cookie modulo this.
pub const FLOW_SLOTS: u32 = 65_536;

/// The slot of a socket cookie.
pub const fn slot(cookie: u64) -> u32 {
    (cookie & (FLOW_SLOTS as u64 - 1)) as u32
}

layout! {
    /// An IP address and port, host byte order for the port.
    pub struct Address {
        /// IPv6 address, or IPv4 as `::ffff:a.b.c.d`, network byte order.
        pub ip: [u8; 16],
        /// Port.
        pub port: u16,
        /// Padding.
        pub pad: [u8; 6],
    }

    /// What is known of a flow, by its socket cookie.
    pub struct Flow {
        /// Socket cookie, unique until reboot; 0 while the slot is empty or being filled.
        pub cookie: u64,
        /// Who called connect (or the first sendmsg of a datagram socket).
        pub task: Task,
        /// When, nanoseconds of `CLOCK_BOOTTIME`.
        pub opened_ns: u64,
        /// Remote end.
        pub remote: Address,
        /// Local end, known from the first payload on.
        pub local: Address,
        /// `IPPROTO_TCP` or `IPPROTO_UDP`.
        pub protocol: u32,
        /// One of [`crate::handshake::state`].
        pub state: u32,
        /// Sequence number of the first payload byte (TCP).
        pub first_seq: u32,
        /// Packets with payload looked at so far.
        pub packets: u32,
        /// Payload bytes that complete what is captured, from the first byte.
        pub wanted: u32,
        /// Payload bytes captured so far.
        pub captured: u32,
        /// Sequence number of the first payload byte received (cleartext).
        pub answer_seq: u32,
        /// 1 when answers are copied before it is decided where a cleartext connection goes.
        pub asks: u32,
        /// First half of the TLS client random, zero when none was seen.
        pub random: [u8; 16],
    }

    /// A process connects to an address that a model host is known to have, or to instance metadata.
    pub struct Connect {
        /// Common part.
        pub header: Header,
        /// The flow.
        pub flow: Flow,
    }
}
