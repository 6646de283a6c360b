//! The collector: records of many sensors in, durable log and fleet findings out.
//!
//! Data path: [`listen`] (TCP, mutual TLS, limits) -> [`ingest`] (who sent what) -> [`store`] (what is new: durable
//! in the [`archive`], then acknowledged) -> [`fleet`] (the same detector as on a host). [`query`] answers questions
//! from the archive. [`state`] is what outlives a restart and is not a record; [`authority`] makes the certificates;
//! [`metrics`] counts for Prometheus.
#![forbid(unsafe_code)]

pub mod archive;
pub mod authority;
pub mod batch;
pub mod cli;
pub mod files;
pub mod fleet;
pub mod http2;
pub mod ingest;
pub mod intake;
pub mod listen;
pub mod metrics;
pub mod peer;
pub mod query;
pub mod serve;
pub mod state;
pub mod store;
pub mod tls;
pub mod token;
