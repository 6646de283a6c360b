//! What a call cost: money that the provider reports, else a list price or the user's own, in integers.
//!
//! Inside everything is nano-dollars (10^-9 US dollars), outside decimal strings. What is not known is
//! absent: a model, service tier or token count without a price gives no cost.

mod amount;
mod entry;
mod litellm;
mod name;
mod rates;
mod table;
mod time;
mod total;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use proto::v1::{Cost, Tokens};

pub use amount::{dollars, nano};
use entry::Document;
use table::Table;
pub use total::{MIXED, Total};

/// Largest file with the user's own prices, in bytes.
pub const MAX_OVERRIDES_BYTES: usize = 64 * 1024 * 1024;
const BUILT_IN: &str = include_str!("prices.toml");
/// The only format of the price table there is.
const SCHEMA: u32 = 1;
const CURRENCY: &str = "USD";

/// The basis of a cost, as records name it.
pub mod basis {
    /// The provider said so.
    pub const REPORTED: &str = "reported";
    /// The provider's public price.
    pub const LIST_PRICE: &str = "list_price";
    /// The user's own price.
    pub const OVERRIDE: &str = "override";
    /// Paid by the month: no amount.
    pub const SUBSCRIPTION: &str = "subscription";
}

/// Prices that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not TOML, not JSON, or a wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A price that is none.
    #[error("model `{model}`: `{field}` is not a price in US dollars")]
    Price {
        /// The model.
        model: String,
        /// The field.
        field: String,
    },
    /// A date or time of day that is none.
    #[error("model `{model}`: `{value}` is not a date (YYYY-MM-DD) or time of day (HH:MM)")]
    Time {
        /// The model.
        model: String,
        /// What stands there.
        value: String,
    },
    /// The text is too large.
    #[error("the prices are larger than {MAX_OVERRIDES_BYTES} bytes")]
    TooLarge,
}

/// Why a call has no cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// Nothing that is paid for was counted.
    Tokens,
    /// The model has no price.
    Model,
    /// The model has no price in the service tier that the response names.
    Tier,
}

/// What is known of a call that has to be paid.
#[derive(Debug, Clone, Copy, Default)]
pub struct Billed<'a> {
    /// Provider as records name it.
    pub provider: &'a str,
    /// The model that answered, else the one asked for.
    pub model: &'a str,
    /// When it was made, nanoseconds since the epoch.
    pub time: u64,
    /// The service tier that the response names; empty when it names none.
    pub tier: &'a str,
    /// Tokens.
    pub tokens: Option<&'a Tokens>,
    /// Those of `cache_write` that are kept for an hour.
    pub cache_write_1h: u64,
    /// Money that the provider reported, nano-dollars.
    pub reported: Option<u64>,
    /// Whether the endpoint is one of subscriptions.
    pub subscription: bool,
    /// Issuer and kind of the credential.
    pub credential: Option<(&'a str, &'a str)>,
}

/// All prices.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    list: Table,
    overrides: Table,
    subscriptions: BTreeSet<(String, String)>,
}

impl Prices {
    /// The list prices that come with the program.
    pub fn built_in() -> Result<Self, PriceError> {
        let document: Document =
            toml::from_str(BUILT_IN).map_err(|error| PriceError::Syntax(error.to_string()))?;
        if document.schema != SCHEMA {
            return Err(PriceError::Syntax(format!("`schema` must be {SCHEMA}")));
        }
        let subscriptions =
            document.subscription.iter().map(|entry| (entry.provider.clone(), entry.kind.clone())).collect();
        Ok(Self { list: Table::compile(&document.provider)?, overrides: Table::default(), subscriptions })
    }

    /// With the user's own prices, which win over list prices: `text` is JSON as in LiteLLM's
    /// `model_prices_and_context_window.json`.
    pub fn with_overrides(self, text: &str) -> Result<Self, PriceError> {
        if text.len() > MAX_OVERRIDES_BYTES {
            return Err(PriceError::TooLarge);
        }
        Ok(Self { overrides: litellm::table(text)?, ..self })
    }

    /// Models with a list price and with one of the user's own.
    pub fn len(&self) -> (usize, usize) {
        (self.list.len(), self.overrides.len())
    }

    /// Whether no price is known.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// What `call` cost. Reported money wins, then subscriptions, then the user's prices, then the list.
    pub fn cost(&self, call: &Billed<'_>) -> Result<Cost, Unpriced> {
        if let Some(reported) = call.reported {
            return Ok(cost(basis::REPORTED, Some(reported), call.tier));
        }
        let by_credential = call.credential.is_some_and(|(provider, kind)| {
            self.subscriptions.contains(&(provider.to_owned(), kind.to_owned()))
        });
        if call.subscription || by_credential {
            return Ok(cost(basis::SUBSCRIPTION, None, call.tier));
        }
        let tokens = call.tokens.ok_or(Unpriced::Tokens)?;
        let tables = [(basis::OVERRIDE, &self.overrides), (basis::LIST_PRICE, &self.list)];
        let rows = tables.iter().find_map(|(basis, table)| Some((*basis, table.find(call)?)));
        let (basis, row) = rows.ok_or(Unpriced::Model)?;
        let rates = row.rates(call.tier).ok_or(Unpriced::Tier)?;
        let amount = rates.amount(tokens, call.cache_write_1h).ok_or(Unpriced::Tokens)?;
        Ok(Cost { price: row.id.clone(), ..cost(basis, Some(amount), call.tier) })
    }
}

fn cost(basis: &str, amount: Option<u64>, tier: &str) -> Cost {
    Cost {
        currency: if amount.is_some() { CURRENCY.to_owned() } else { String::new() },
        amount: amount.map(dollars).unwrap_or_default(),
        basis: basis.to_owned(),
        price: String::new(),
        service_tier: tier.to_owned(),
    }
}
