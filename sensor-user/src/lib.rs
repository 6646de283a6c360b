//! The sensor: kernel events in, attributed records out.
//!
//! Data path: [`bpf`] (kernel) -> [`source`] (checked events) -> `attribution` (meaning) -> [`sink`].

pub mod bpf;
