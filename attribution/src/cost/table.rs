//! Prices by provider and model.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::entry::{ModelEntry, ProviderEntry, RatesEntry};
use super::rates::{MAX_RATE, Rates};
use super::{Billed, PriceError, name, time};
use crate::usage::scaled;

/// Powers of ten from dollars for a million tokens to nano-dollars.
const LIST_SHIFT: i32 = 9;
/// Service tiers that are the ordinary one.
const ORDINARY: [&str; 5] = ["", "default", "standard", "auto", "on_demand"];
/// Providers of a price that holds everywhere.
pub(super) const ANYWHERE: &str = "";

/// Rows by provider, then by model in lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    providers: HashMap<String, Models>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Models {
    pub(super) strip: Vec<String>,
    rows: HashMap<String, Vec<Arc<Row>>>,
}

/// The price of a model in a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// What records say of it: `provider/model`, and from when it holds.
    pub(super) id: String,
    pub(super) from: Option<u64>,
    pub(super) until: Option<u64>,
    pub(super) minutes: Option<(u64, u64)>,
    pub(super) base: Rates,
    pub(super) tiers: BTreeMap<String, Rates>,
}

impl Table {
    pub(super) fn compile(providers: &[ProviderEntry]) -> Result<Self, PriceError> {
        let mut table = Self::default();
        for provider in providers {
            for entry in &provider.models {
                for name in &provider.names {
                    let row = Arc::new(Row::compile(name, entry)?);
                    for model in entry.also.iter().chain([&entry.model]) {
                        table.insert(name, model, row.clone());
                    }
                    if let Some(models) = table.providers.get_mut(name) {
                        models.strip.clone_from(&provider.strip);
                    }
                }
            }
        }
        Ok(table)
    }

    pub(super) fn insert(&mut self, provider: &str, model: &str, row: Arc<Row>) {
        let models = self.providers.entry(provider.to_owned()).or_default();
        models.rows.entry(model.to_ascii_lowercase()).or_default().push(row);
    }

    /// Names of models, over all providers.
    pub(super) fn len(&self) -> usize {
        self.providers.values().map(|models| models.rows.len()).sum()
    }

    /// The price that holds for `call`, whatever its tier.
    pub(super) fn find(&self, call: &Billed<'_>) -> Option<&Row> {
        let model = call.model.to_ascii_lowercase();
        let (day, minute) = time::split(call.time);
        [call.provider, ANYWHERE].into_iter().find_map(|provider| {
            let models = self.providers.get(provider)?;
            let short = models.strip.iter().find_map(|prefix| model.strip_prefix(prefix.as_str()));
            [Some(model.as_str()), short].into_iter().flatten().find_map(|model| {
                let names = [Some(model), name::without_version(model)];
                let rows = names.into_iter().flatten().find_map(|name| models.rows.get(name))?;
                rows.iter().rev().find(|row| row.holds(day, minute)).map(Arc::as_ref)
            })
        })
    }
}

impl Row {
    fn compile(provider: &str, entry: &ModelEntry) -> Result<Self, PriceError> {
        let wrong = |value: &str| PriceError::Time { model: entry.model.clone(), value: value.to_owned() };
        let day = |text: &Option<String>| -> Result<Option<u64>, PriceError> {
            text.as_deref().map(|text| time::day(text).ok_or_else(|| wrong(text))).transpose()
        };
        let minute = |text: &str| time::minute(text).ok_or_else(|| wrong(text));
        let since = entry.from.as_ref().map(|day| format!(" from {day}")).unwrap_or_default();
        let rates = |entry: &RatesEntry, model: &str| Rates::compile(entry, model);
        Ok(Self {
            id: format!("{provider}/{}{since}", entry.model),
            from: day(&entry.from)?,
            until: day(&entry.until)?,
            minutes: match &entry.hours {
                Some([start, end]) => Some((minute(start)?, minute(end)?)),
                None => None,
            },
            base: rates(&entry.base(), &entry.model)?,
            tiers: entry
                .tiers
                .iter()
                .map(|(tier, entry_of)| Ok((tier.clone(), rates(entry_of, &entry.model)?)))
                .collect::<Result<_, PriceError>>()?,
        })
    }

    fn holds(&self, day: u64, minute: u64) -> bool {
        self.from.is_none_or(|from| from <= day)
            && self.until.is_none_or(|until| day < until)
            && self.minutes.is_none_or(|(start, end)| match start <= end {
                true => (start..end).contains(&minute),
                false => minute >= start || minute < end,
            })
    }

    /// The prices of a service tier.
    pub(super) fn rates(&self, tier: &str) -> Option<&Rates> {
        let tier = tier.to_ascii_lowercase();
        if ORDINARY.contains(&tier.as_str()) { Some(&self.base) } else { self.tiers.get(&tier) }
    }
}

impl Rates {
    fn compile(entry: &RatesEntry, model: &str) -> Result<Self, PriceError> {
        let price = |field: &str, text: &Option<String>| -> Result<Option<u64>, PriceError> {
            let wrong = || PriceError::Price { model: model.to_owned(), field: field.to_owned() };
            let read = |text: &String| scaled(text, LIST_SHIFT).filter(|rate| *rate <= MAX_RATE);
            text.as_ref().map(|text| read(text).ok_or_else(wrong)).transpose()
        };
        let mut above = entry
            .above
            .iter()
            .map(|more| Ok((more.tokens, Self::compile(more, model)?)))
            .collect::<Result<Vec<_>, PriceError>>()?;
        above.sort_by_key(|(tokens, _)| *tokens);
        Ok(Self {
            input: price("input", &entry.input)?,
            output: price("output", &entry.output)?,
            cache_read: price("cache_read", &entry.cache_read)?,
            cache_write: price("cache_write", &entry.cache_write)?,
            cache_write_1h: price("cache_write_1h", &entry.cache_write_1h)?,
            reasoning: price("reasoning", &entry.reasoning)?,
            above,
        })
    }
}
