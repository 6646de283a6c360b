//! Credentials on the wire: fingerprints of secrets, never the secrets.
//!
//! Raw values exist only in [`Secret`], which is wiped when dropped and prints nothing. What leaves this
//! module is a keyed fingerprint, the kind of credential, and a hint as short as the configuration says.

mod at_rest;
mod class;
mod extract;
mod fingerprint;
mod hint;
mod identity;
mod origin;
mod readers;
mod redact;
mod secret;
mod shape;

#[cfg(test)]
mod tests;

pub use at_rest::{AtRest, Format, MAX_FOUND};
pub use class::{Confidence, Kind, Lifetime};
pub use extract::{Extractor, Found, MAX_CREDENTIALS, MAX_SECRET_BYTES};
pub use fingerprint::{Fingerprint, FleetKey, KEY_BYTES};
pub use hint::Hint;
pub use origin::{Answer, MAX_HOLDERS, Origins, Source, What};
pub use readers::{Expectation, expectation};
pub use redact::Redactor;
pub use secret::Secret;
pub use shape::{Shape, Shapes};
