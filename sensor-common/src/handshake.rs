//! Events of the first-payload hook.

use crate::{Header, connect, layout};

/// Payload bytes in one event.
pub const CHUNK: usize = 2048;
/// Room in the event of a payload that fits: most ClientHellos do, except those with a post-quantum key share.
pub const SMALL: usize = 640;
/// Events for one packet; more payload is not copied (a request head is at most 16 KiB here).
pub const MAX_CHUNKS: usize = 8;
/// Payload bytes captured of one flow.
pub const MAX_CAPTURE: u32 = (CHUNK * MAX_CHUNKS) as u32;
/// Packets with payload looked at before a flow is left alone.
pub const MAX_PACKETS: u32 = 16;
/// Datagrams of a QUIC client that are captured: a post-quantum ClientHello needs two, a Retry makes it start again.
pub const QUIC_DATAGRAMS: u32 = 4;
/// Events for one packet of them.
pub const QUIC_CHUNKS: usize = 2;

/// What the first payload of a flow is, and whether more of it is awaited.
pub mod state {
    /// No payload seen yet.
    pub const NEW: u32 = 0;
    /// A TLS ClientHello, more of it awaited.
    pub const TLS: u32 = 1;
    /// A cleartext HTTP/1 connection: [`crate::cleartext`] follows it.
    pub const CLEAR: u32 = 2;
    /// An HTTP CONNECT: a TLS ClientHello may follow in the tunnel.
    pub const TUNNEL: u32 = 3;
    /// Nothing more is read of this flow.
    pub const DONE: u32 = 4;
}

/// What the first bytes of a [`Payload`] look like.
pub mod shape {
    /// A TLS handshake record.
    pub const TLS: u32 = 1;
    /// An HTTP/1 request.
    pub const HTTP: u32 = 2;
    /// A QUIC long-header packet.
    pub const QUIC: u32 = 3;
    /// Something else; no bytes are copied.
    pub const OTHER: u32 = 4;
}

layout! {
    /// A part of the first payload of a flow.
    pub struct Payload {
        /// Common part; `data_len` bytes follow.
        pub header: Header,
        /// The flow.
        pub flow: connect::Flow,
        /// One of [`shape`].
        pub shape: u32,
        /// Position of the bytes in the flow's payload.
        pub offset: u32,
    }
}
