//! The sensor: kernel events in, attributed records out.
//!
//! Data path: [`bpf`] (kernel) -> [`source`] (checked events) -> [`identity`] (what /proc adds) ->
//! `attribution` (meaning) -> [`sink`]; [`tls`] decides what is probed, [`sensor`] is the loop.

pub mod bpf;
pub mod cli;
pub mod config;
pub mod credential;
pub mod export;
pub mod fleet_key;
mod homes;
pub mod identity;
pub mod live;
pub mod metrics;
pub mod policy;
pub mod recorder;
pub mod records;
pub mod sensor;
pub mod sink;
pub mod source;
pub mod term;
pub mod timeline;
pub mod tls;
