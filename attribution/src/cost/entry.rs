//! The price file as it is written; see its head for the meaning of each field.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) schema: u32,
    #[serde(default)]
    pub(super) subscription: Vec<SubscriptionEntry>,
    pub(super) provider: Vec<ProviderEntry>,
}

/// Credentials that are paid by the month.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionEntry {
    pub(super) provider: String,
    pub(super) kind: String,
}

/// The prices of one provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderEntry {
    pub(super) names: Vec<String>,
    /// Where the prices are published; a remark.
    #[serde(rename = "source")]
    pub(super) _source: String,
    #[serde(default)]
    pub(super) strip: Vec<String>,
    pub(super) models: Vec<ModelEntry>,
}

/// A price of one model. Fields of [`RatesEntry`] cannot be flattened into a form that refuses unknown ones.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ModelEntry {
    pub(super) model: String,
    pub(super) also: Vec<String>,
    pub(super) from: Option<String>,
    pub(super) until: Option<String>,
    pub(super) hours: Option<[String; 2]>,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    pub(super) cache_read: Option<String>,
    pub(super) cache_write: Option<String>,
    pub(super) cache_write_1h: Option<String>,
    pub(super) reasoning: Option<String>,
    pub(super) above: Vec<RatesEntry>,
    pub(super) tiers: BTreeMap<String, RatesEntry>,
}

/// Prices for a million tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RatesEntry {
    /// Only in `above`.
    pub(super) tokens: u64,
    pub(super) input: Option<String>,
    pub(super) output: Option<String>,
    pub(super) cache_read: Option<String>,
    pub(super) cache_write: Option<String>,
    pub(super) cache_write_1h: Option<String>,
    pub(super) reasoning: Option<String>,
    pub(super) above: Vec<RatesEntry>,
}

impl ModelEntry {
    /// The price without a service tier.
    pub(super) fn base(&self) -> RatesEntry {
        RatesEntry {
            tokens: 0,
            input: self.input.clone(),
            output: self.output.clone(),
            cache_read: self.cache_read.clone(),
            cache_write: self.cache_write.clone(),
            cache_write_1h: self.cache_write_1h.clone(),
            reasoning: self.reasoning.clone(),
            above: self.above.clone(),
        }
    }
}
