//! The collector: records of many sensors in, durable log and fleet findings out.
//!
//! Data path: [`listen`] (TCP, mutual TLS, limits) -> [`ingest`] (who sent what, what is new) -> [`archive`]
//! (durable) -> acknowledgement, then [`fleet`] (the same detector as on a host). [`state`] is what
//! outlives a restart and is not a record; [`authority`] makes the certificates.
#![forbid(unsafe_code)]

pub mod authority;
pub mod cli;
pub mod files;
pub mod intake;
pub mod listen;
pub mod peer;
pub mod state;
pub mod tls;
