//! Records in the forms of others. The mapping to each form stands in one file; unknown stays absent.

pub mod deliver;
pub mod focus;
mod http;
mod intake;
mod money;
pub mod ocsf;
pub mod otel;
mod otlp;
pub mod parquet;
pub mod sink;
mod syslog;
pub mod webhook;

#[cfg(test)]
pub(crate) mod samples;

/// Name in exported records.
const PRODUCT: &str = "Keywitness";
/// Version in exported records.
const VERSION: &str = env!("CARGO_PKG_VERSION");
