//! What one HTTP/2 connection may make the collector do, with a certificate or without. Beyond a limit the connection
//! ends with `ENHANCE_YOUR_CALM` (RFC 9113 10.5); other connections do not notice.
//!
//! Frames that cost little and cannot be refused (PING, SETTINGS, empty DATA) are answered one at a time: who does
//! not read the answers is read no more, and then ended by [`KEEPALIVE`].

use std::time::Duration;

/// Streams that a client may reset before they are looked at (rapid reset, CVE-2023-44487).
pub const MAX_RESETS: usize = 16;
/// Streams that the collector resets for a client's mistakes, such as opening more than it may.
pub const MAX_MISTAKES: usize = 64;
/// Bytes of a request's head, unpacked; also bounds its CONTINUATION frames (CVE-2024-27316).
pub const MAX_HEAD: u32 = 16 * 1024;
/// Bytes of a frame, the smallest limit that the protocol has (RFC 9113 4.2).
pub const MAX_FRAME: u32 = 16 * 1024;
/// How often a quiet connection is asked whether it is still there, and how long it may take to answer.
pub const KEEPALIVE: Duration = Duration::from_secs(30);
