//! The sensor: kernel events in, attributed records out.
//!
//! Data path: [`bpf`] (kernel) -> [`source`] (checked events) -> [`identity`] (what /proc adds) ->
//! `attribution` (meaning) -> sinks; [`tls`] decides what is probed, [`sensor`] is the loop.

pub mod bpf;
pub mod identity;
pub mod sensor;
pub mod source;
pub mod tls;
