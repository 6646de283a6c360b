//! The user's own prices in the form of LiteLLM's `model_prices_and_context_window.json`: an object with one
//! object for each model, prices in US dollars for one token. Fields that are no price are passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::PriceError;
use super::rates::{MAX_RATE, Rates};
use super::table::{ANYWHERE, Row, Table};
use crate::usage::scaled;

/// Powers of ten from dollars for a token to nano-dollars for a million.
const TOKEN_SHIFT: i32 = 15;
/// The entry that only explains the form.
const SAMPLE: &str = "sample_spec";
/// Ends of field names that stand for a service tier, and its name in responses.
const TIERS: [(&str, &str); 3] = [("_batches", "batch"), ("_priority", "priority"), ("_flex", "flex")];
/// End of a field name with the price above a number of thousand tokens: `_above_200k_tokens`.
const ABOVE: (&str, &str) = ("_above_", "k_tokens");
/// Providers under another name in records; those that are not here are called the same.
const PROVIDERS: [(&str, &str); 13] = [
    ("azure", "azure.ai.openai"),
    ("azure_text", "azure.ai.openai"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("cohere_chat", "cohere"),
    ("gemini", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("text-completion-openai", "openai"),
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("watsonx", "ibm.watsonx.ai"),
    ("xai", "x_ai"),
];

/// A price that a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    CacheWrite1h,
    Reasoning,
}

const PARTS: [(&str, Part); 6] = [
    ("input_cost_per_token", Part::Input),
    ("output_cost_per_token", Part::Output),
    ("cache_read_input_token_cost", Part::CacheRead),
    ("cache_creation_input_token_cost", Part::CacheWrite),
    ("cache_creation_input_token_cost_above_1hr", Part::CacheWrite1h),
    ("output_cost_per_reasoning_token", Part::Reasoning),
];

/// The prices in `text`.
pub(super) fn table(text: &str) -> Result<Table, PriceError> {
    let models: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| PriceError::Syntax(error.to_string()))?;
    let mut table = Table::default();
    for (name, entry) in models.iter().filter(|(name, _)| *name != SAMPLE) {
        let Value::Object(entry) = entry else {
            return Err(PriceError::Syntax(format!("model `{name}` is not an object")));
        };
        let Some(row) = row(name, entry)? else { continue };
        let theirs = entry.get("litellm_provider").and_then(Value::as_str).unwrap_or(ANYWHERE);
        let row = Arc::new(row);
        table.insert(provider(theirs), name, row.clone());
        // `groq/openai/gpt-oss-120b` is the model `openai/gpt-oss-120b` of Groq.
        if let Some((before, model)) = name.split_once('/')
            && (before == theirs || provider(before) == provider(theirs))
        {
            table.insert(provider(theirs), model, row);
        }
    }
    Ok(table)
}

fn provider(theirs: &str) -> &str {
    // `vertex_ai-language-models`, `vertex_ai-anthropic_models` and the like.
    let theirs = if theirs.starts_with("vertex_ai") { "vertex_ai" } else { theirs };
    PROVIDERS.iter().find(|(name, _)| *name == theirs).map_or(theirs, |(_, ours)| ours)
}

/// The row of one model; nothing when no field of it is a price for tokens.
fn row(model: &str, entry: &Map<String, Value>) -> Result<Option<Row>, PriceError> {
    let mut row = Row { id: model.to_owned(), ..Row::default() };
    let mut any = false;
    for (field, value) in entry {
        let Some((part, above, tier)) = parse(field) else { continue };
        let Some(rate) =
            rate(value).map_err(|()| PriceError::Price { model: model.to_owned(), field: field.clone() })?
        else {
            continue;
        };
        any = true;
        let rates = match tier {
            Some(tier) => row.tiers.entry(tier.to_owned()).or_default(),
            None => &mut row.base,
        };
        set(rates, above, part, rate);
    }
    complete(&mut row.base);
    complete_tiers(&mut row.tiers, &row.base);
    Ok(any.then_some(row))
}

/// What a field says: a price, above how many tokens, and in which tier.
fn parse(field: &str) -> Option<(Part, Option<u64>, Option<&'static str>)> {
    let found = TIERS.iter().find_map(|(end, tier)| Some((field.strip_suffix(end)?, *tier)));
    let (field, tier) = found.map_or((field, None), |(field, tier)| (field, Some(tier)));
    let above = field.strip_suffix(ABOVE.1).and_then(|field| field.rsplit_once(ABOVE.0));
    let (field, above) = match above {
        Some((field, thousands)) => (field, Some(thousands.parse::<u64>().ok()?.checked_mul(1000)?)),
        None => (field, None),
    };
    let part = PARTS.iter().find(|(name, _)| *name == field)?.1;
    Some((part, above, tier))
}

/// A price; nothing for null.
fn rate(value: &Value) -> Result<Option<u64>, ()> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return Err(()),
    };
    scaled(&text, TOKEN_SHIFT).filter(|rate| *rate <= MAX_RATE).map(Some).ok_or(())
}

fn set(rates: &mut Rates, above: Option<u64>, part: Part, rate: u64) {
    if let Some(tokens) = above {
        let at = rates.above.iter().position(|(known, _)| *known == tokens).unwrap_or_else(|| {
            rates.above.push((tokens, Rates::default()));
            rates.above.len() - 1
        });
        if let Some((_, rates)) = rates.above.get_mut(at) {
            set(rates, None, part, rate);
        }
        return;
    }
    let place = match part {
        Part::Input => &mut rates.input,
        Part::Output => &mut rates.output,
        Part::CacheRead => &mut rates.cache_read,
        Part::CacheWrite => &mut rates.cache_write,
        Part::CacheWrite1h => &mut rates.cache_write_1h,
        Part::Reasoning => &mut rates.reasoning,
    };
    *place = Some(rate);
}

/// Above a number of tokens, what has no price of its own costs as below.
fn complete(rates: &mut Rates) {
    let below = Rates { above: Vec::new(), ..rates.clone() };
    for (_, above) in &mut rates.above {
        fill(above, &below);
    }
    rates.above.sort_by_key(|(tokens, _)| *tokens);
}

/// In a tier, what has no price of its own costs as without one.
fn complete_tiers(tiers: &mut BTreeMap<String, Rates>, base: &Rates) {
    for rates in tiers.values_mut() {
        fill(rates, base);
        complete(rates);
    }
}

fn fill(rates: &mut Rates, from: &Rates) {
    for (place, known) in [
        (&mut rates.input, from.input),
        (&mut rates.output, from.output),
        (&mut rates.cache_read, from.cache_read),
        (&mut rates.cache_write, from.cache_write),
        (&mut rates.cache_write_1h, from.cache_write_1h),
        (&mut rates.reasoning, from.reasoning),
    ] {
        *place = place.or(known);
    }
}
