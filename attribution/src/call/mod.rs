//! From plaintext of one connection to finished calls.

mod connection;
mod exchange;
mod reader;
mod websocket;

use std::sync::Arc;

pub use connection::{Connection, Piece, Route};
pub use exchange::{Call, Finished};

use crate::credential::{Extractor, FleetKey, Hint, Redactor};
use crate::endpoint::Catalogue;

/// What reading needs to know; the same for every connection.
#[derive(Debug, Clone)]
pub struct Toolkit {
    /// Providers and operations.
    pub catalogue: Arc<Catalogue>,
    /// Fingerprints credentials.
    pub extractor: Extractor,
    /// Takes secrets out of arguments.
    pub redactor: Redactor,
}

impl Toolkit {
    /// With the providers of `catalogue`, fingerprinting under `key`.
    pub fn new(catalogue: Arc<Catalogue>, key: Arc<FleetKey>, hint: Hint) -> Self {
        Self {
            extractor: Extractor::new(key.clone(), &catalogue, hint),
            redactor: Redactor::new(key, &catalogue),
            catalogue,
        }
    }
}
