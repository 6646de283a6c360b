//! Token usage from responses of every provider family.
//!
//! Exported counts follow OpenTelemetry: input is everything the model read, cached parts included, and
//! reasoning is part of output. What a response does not say stays absent.

mod decimal;
mod grpc;
mod meter;
mod plan;

#[cfg(test)]
mod tests;

pub(crate) use decimal::scaled;
pub use grpc::Grpc;
pub use meter::{MAX_TOKENS, Meter, Usage};
pub use plan::Plan;
