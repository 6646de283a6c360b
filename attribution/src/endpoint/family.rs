//! Usage families as the catalogue file writes them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Where a response says what it used; see the remarks in `catalogue.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FamilyEntry {
    /// The family whose fields this one shares.
    pub like: Option<String>,
    /// Pointer prefixes below which the fields may stand.
    pub roots: Vec<String>,
    /// What must hold for a document to be of this family.
    pub when: Vec<MarkEntry>,
    /// Whether counts appear before the end of a stream.
    pub running: bool,
    /// What marks the final counts of a running family, any of them.
    pub done: Vec<MarkEntry>,
    /// Whether it only completes another family.
    pub add_on: bool,
    /// Model that answered.
    pub model: Option<String>,
    /// Id of the response.
    pub id: Option<String>,
    /// Input tokens.
    pub input: Option<String>,
    /// Fields added to the input.
    pub input_plus: Vec<Count>,
    /// Output tokens.
    pub output: Option<String>,
    /// Fields added to the output.
    pub output_plus: Vec<Count>,
    /// Sum as the provider states it.
    pub total: Option<String>,
    /// Input tokens read from a cache.
    pub cache_read: Option<String>,
    /// Input tokens written to a cache.
    pub cache_write: Option<String>,
    /// Those of them that are kept for an hour.
    pub cache_write_1h: Option<String>,
    /// Output tokens spent on reasoning.
    pub reasoning: Option<String>,
    /// Input tokens of tool results.
    pub tool_input: Option<String>,
    /// Citation tokens.
    pub citation: Option<String>,
    /// Money the provider reports.
    pub cost: Option<CostEntry>,
    /// Names of the service tier and what else changes the price; the first that is no ordinary one counts.
    pub service_tier: Vec<String>,
    /// Response headers with counts, or the cost in US dollars.
    pub headers: BTreeMap<HeaderField, String>,
    /// Pointer to a base64 string that holds the model's own document.
    pub inner: Option<String>,
    /// How streams carry it; a remark.
    pub stream: Option<String>,
    /// Further facts of a response, by name.
    pub detail: BTreeMap<String, String>,
}

/// A count of a usage family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// Input tokens.
    Input,
    /// Output tokens.
    Output,
    /// Input tokens read from a cache.
    CacheRead,
    /// Input tokens written to a cache.
    CacheWrite,
    /// Output tokens spent on reasoning.
    Reasoning,
    /// Input tokens of tool results.
    ToolInput,
    /// Citation tokens.
    Citation,
    /// Input tokens written to a cache for an hour.
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
}

/// What a response header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderField {
    /// Input tokens.
    Input,
    /// Output tokens.
    Output,
    /// Input tokens read from a cache.
    CacheRead,
    /// Input tokens written to a cache.
    CacheWrite,
    /// Money in US dollars.
    Cost,
}

/// A pointer that must hold something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkEntry {
    /// The pointer.
    pub at: String,
    /// The strings it may hold; any scalar but null when empty.
    #[serde(default)]
    pub is: Vec<String>,
}

/// Where the provider reports money.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostEntry {
    /// The pointer.
    pub at: String,
    /// Its unit.
    pub unit: CostUnit,
}

/// Unit of reported money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostUnit {
    /// US dollars.
    Usd,
    /// 10^-10 US dollars.
    UsdTicks,
}
