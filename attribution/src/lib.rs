//! Bytes and events in, records and findings out. No I/O, no clock, no kernel.
//!
//! Data path: [`event`] -> [`identity`] (who) and [`flow`] (where to) -> [`decode`] and [`call`] (what) with
//! [`endpoint`], [`credential`] and [`usage`] -> [`pipeline`] (records) -> [`detect`] (findings).
#![forbid(unsafe_code)]

pub mod call;
pub mod cost;
pub mod credential;
pub mod decode;
pub mod detect;
pub mod endpoint;
pub mod event;
pub mod filter;
pub mod flow;
pub mod identity;
pub mod pipeline;
pub mod policy;
pub mod recording;
pub mod replay;
pub mod report;
pub mod session;
pub mod usage;
