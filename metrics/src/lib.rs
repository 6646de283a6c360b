//! Prometheus metrics and probes, for sensor and collector alike.
//!
//! [`table`] names every metric; a [`Page`] is one scrape of them, a [`Server`] answers scrapers and probes, and a
//! [`Tally`] counts what only records tell. No label is a pid or the fingerprint of a key.
#![forbid(unsafe_code)]

#[cfg(test)]
mod document;
mod durations;
pub mod host;
mod page;
mod server;
pub mod table;
mod tally;

pub use durations::Durations;
pub use page::Page;
pub use server::{Server, Subject};
pub use tally::{MAX_SERIES, Names, OTHER, Tally, bounded, label};
