//! From plaintext of one connection to finished calls.

mod connection;
mod exchange;

use std::sync::Arc;

pub use connection::{Connection, Piece, Route};
pub use exchange::{Billing, Call, Finished};

use crate::cost::Prices;
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
    /// What tokens cost.
    pub prices: Arc<Prices>,
}

impl Toolkit {
    /// With the providers of `catalogue`, fingerprinting under `key`, and no prices.
    pub fn new(catalogue: Arc<Catalogue>, key: Arc<FleetKey>, hint: Hint) -> Self {
        Self {
            extractor: Extractor::new(key.clone(), &catalogue, hint),
            redactor: Redactor::new(key, &catalogue),
            prices: Arc::default(),
            catalogue,
        }
    }

    /// With `prices`.
    pub fn with_prices(self, prices: Prices) -> Self {
        Self { prices: Arc::new(prices), ..self }
    }
}
