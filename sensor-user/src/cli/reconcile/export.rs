//! What providers export about usage, by the public documentation of their administration interfaces.
//!
//! OpenAI: `GET /v1/organization/usage/completions` and `/v1/organization/costs` (platform.openai.com/docs/api-reference/usage),
//! keys: `GET /v1/organization/projects/{id}/api_keys`. Anthropic: `GET /v1/organizations/usage_report/messages` and
//! `/v1/organizations/cost_report` (platform.claude.com/docs/en/api/admin), keys: `GET /v1/organizations/api_keys`. Ask for
//! buckets of a day, grouped by `api_key_id` and `model`. Several pages may stand in one file, one after the other.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Deserialize;

/// Nanodollars of a dollar and of a cent.
const DOLLAR: f64 = 1e9;
const CENT: f64 = 1e7;
/// Seconds of a day.
const DAY_S: u64 = 86_400;

/// Whose export it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Provider {
    /// OpenAI usage or cost pages
    Openai,
    /// Anthropic usage or cost report pages
    Anthropic,
}

/// What one line of a bill is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Day since the epoch, UTC.
    pub(super) day: u64,
    /// The provider's id of the key; empty when the export is not grouped by it.
    pub(super) key: String,
    /// Model; empty when the export is not grouped by it.
    pub(super) model: String,
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Calls; nothing where they are not told.
    pub(super) calls: Option<u64>,
    /// Tokens, input and output; nothing in exports of cost.
    pub(super) tokens: Option<u64>,
    /// Nanodollars; nothing in exports of usage.
    pub(super) nanos: Option<u64>,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    /// OpenAI: seconds since the epoch.
    start_time: Option<u64>,
    /// Anthropic: RFC 3339.
    starting_at: Option<String>,
    #[serde(default)]
    results: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    api_key_id: Option<String>,
    model: Option<String>,
    num_model_requests: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    uncached_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    amount: Option<Money>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_1h_input_tokens: u64,
    ephemeral_5m_input_tokens: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Money {
    /// OpenAI: dollars.
    Dollars { value: f64 },
    /// Anthropic: cents as a decimal string.
    Cents(String),
}

#[derive(Deserialize)]
struct Keys {
    data: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    #[serde(alias = "redacted_value", alias = "partial_key_hint")]
    hint: Option<String>,
}

/// The lines of an export; an error names the place in the text.
pub(super) fn usage(provider: Provider, text: &str) -> Result<BTreeMap<Item, Used>, String> {
    let mut out: BTreeMap<Item, Used> = BTreeMap::new();
    for page in serde_json::Deserializer::from_str(text).into_iter::<Page>() {
        for bucket in page.map_err(|error| error.to_string())?.data {
            let begins = bucket.starting_at.and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let start =
                bucket.start_time.or_else(|| begins.and_then(|time| u64::try_from(time.as_second()).ok()));
            let day = start.ok_or("a bucket has neither start_time nor starting_at")? / DAY_S;
            for entry in bucket.results {
                let item = Item {
                    day,
                    key: entry.api_key_id.clone().unwrap_or_default(),
                    model: entry.model.clone().unwrap_or_default(),
                };
                out.entry(item).or_default().add(used(provider, &entry)?);
            }
        }
    }
    Ok(out)
}

fn used(provider: Provider, entry: &Entry) -> Result<Used, String> {
    let cache = entry.cache_creation.as_ref();
    let written = cache.map_or(0, |cache| cache.ephemeral_1h_input_tokens + cache.ephemeral_5m_input_tokens);
    let input = match provider {
        Provider::Openai => entry.input_tokens,
        Provider::Anthropic => entry
            .uncached_input_tokens
            .map(|uncached| uncached + entry.cache_read_input_tokens.unwrap_or(0) + written),
    };
    let nanos = match &entry.amount {
        Some(Money::Dollars { value }) => Some(value * DOLLAR),
        Some(Money::Cents(text)) => {
            Some(text.parse::<f64>().map_err(|_| format!("`{text}` is no amount"))? * CENT)
        }
        None => None,
    };
    Ok(Used {
        calls: entry.num_model_requests,
        tokens: input.map(|input| input + entry.output_tokens.unwrap_or(0)),
        nanos: nanos.map(|nanos| nanos.max(0.0).round() as u64),
    })
}

/// Hints of keys by the provider's ids.
pub(super) fn keys(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for page in serde_json::Deserializer::from_str(text).into_iter::<Keys>() {
        for key in page.map_err(|error| error.to_string())?.data {
            out.insert(key.id, key.hint.unwrap_or_default());
        }
    }
    Ok(out)
}

/// Whether two hints of one key agree: their last four characters, and the start as far as both show it.
pub(super) fn same_key(one: &str, other: &str) -> bool {
    let parts = |hint: &str| {
        let cut = hint.find(['…', '.', '*']).map(|at| hint.split_at(at).0.to_owned());
        let end: String = hint.chars().rev().take(4).collect();
        (cut.unwrap_or_default(), end)
    };
    let ((start, end), (other_start, other_end)) = (parts(one), parts(other));
    end.len() == 4 && end == other_end && (start.starts_with(&other_start) || other_start.starts_with(&start))
}

impl Used {
    /// Adds `other`; what neither knows stays unknown.
    pub(super) fn add(&mut self, other: Self) {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
        };
        self.calls = sum(self.calls, other.calls);
        self.tokens = sum(self.tokens, other.tokens);
        self.nanos = sum(self.nanos, other.nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_both_providers_are_understood() {
        let text = include_str!("fixtures/openai_usage.json");
        let lines = usage(Provider::Openai, text).unwrap();
        let item = Item { day: 20_522, key: "key_abc".into(), model: "gpt-5-mini".into() };
        assert_eq!(lines[&item], Used { calls: Some(12), tokens: Some(5300), nanos: None });
        assert_eq!(lines.len(), 3);
        let text = include_str!("fixtures/openai_costs.json");
        let lines = usage(Provider::Openai, text).unwrap();
        assert_eq!(lines.values().next().unwrap().nanos, Some(1_250_000_000));
        let text = include_str!("fixtures/anthropic_usage.json");
        let lines = usage(Provider::Anthropic, text).unwrap();
        let item = Item { day: 20_522, key: "apikey_01".into(), model: "claude-sonnet-4-5".into() };
        assert_eq!(
            lines[&item],
            Used { calls: None, tokens: Some(1500 + 200 + 100 + 50 + 700), nanos: None }
        );
        let text = include_str!("fixtures/anthropic_costs.json");
        let lines = usage(Provider::Anthropic, text).unwrap();
        assert_eq!(lines.values().next().unwrap().nanos, Some(1_234_500_000));
    }

    #[test]
    fn what_is_no_export_is_an_error() {
        assert!(usage(Provider::Openai, "{\"data\":[{\"results\":[]}]}").unwrap_err().contains("start_time"));
        assert!(usage(Provider::Openai, "day,tokens").is_err());
        let cents = "{\"data\":[{\"start_time\":1,\"results\":[{\"amount\":\"x\"}]}]}";
        assert!(usage(Provider::Anthropic, cents).unwrap_err().contains("no amount"));
    }

    #[test]
    fn hints_agree_by_their_ends_and_what_both_show() {
        assert!(same_key("sk-proj-…lPPx", "sk-pr...lPPx"));
        assert!(same_key("sk-ant-api03-…igAA", "sk-ant-api03-R2D...igAA"));
        assert!(!same_key("sk-proj-…lPPx", "sk-ant-...lPPx"));
        assert!(!same_key("sk-proj-…lPPx", "sk-proj-...lPPy"));
        assert!(!same_key("", ""));
        let keys = keys(include_str!("fixtures/anthropic_keys.json")).unwrap();
        assert_eq!(keys["apikey_01"], "sk-ant-api03-R2D...igAA");
    }
}
