//! Pure decoders: bytes to meaning, each with three answers.

pub mod client_hello;
pub mod content;
pub mod dns;
pub mod eventstream;
pub mod grpc;
pub(crate) mod host_name;
pub mod http;
pub mod http1;
pub mod http2;
pub mod json;
pub mod quic;
pub mod sse;
pub mod websocket;
mod wiped;

/// What a decoder says of the bytes it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The bytes hold this.
    Match(T),
    /// The bytes so far are a valid beginning; more may complete them.
    Incomplete,
    /// The bytes are something else, and more bytes will not change that.
    NoMatch,
}
