//! Bytes and events in, records and findings out. No I/O, no clock, no kernel.
#![forbid(unsafe_code)]

pub mod credential;
pub mod decode;
pub mod endpoint;
pub mod usage;
