//! HTTP/2, read from both directions of one client connection (RFC 9113).
//!
//! [`Exchanges`] tells the same events as its neighbour for HTTP/1.x, one exchange for each stream. Header blocks
//! are kept until they are whole and wiped after use; bodies are handed on as slices of the caller's buffer. A
//! connection joined in its middle is read with header tables of unknown entries: what was sent before stays
//! unknown and is never guessed (see `headers`).

mod connection;
mod frames;
mod headers;
mod join;
#[cfg(test)]
mod tests;

pub use connection::Exchanges;
pub use join::{PREFACE, looks_like_preface, looks_like_requests};
