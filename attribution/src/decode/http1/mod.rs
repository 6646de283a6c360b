//! HTTP/1.x, read from both directions of one client connection (RFC 9112).
//!
//! [`Exchanges`] takes the plaintext of a connection in pieces of any size and calls a [`Sink`](super::http::Sink) with what
//! the pieces mean. Heads are kept until they are whole and wiped after use, because they hold keys;
//! bodies are handed on as slices of the caller's buffer and never kept.

mod body;
mod chunked;
mod exchanges;
mod framing;
mod head;
mod inbound;
mod sniff;
#[cfg(test)]
mod tests;

pub use exchanges::{Exchanges, Skipped};
pub use sniff::{looks_like_request, looks_like_response};
