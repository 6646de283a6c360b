//! Usage families, compiled to one set of JSON pointers.

use std::sync::Arc;

use crate::decode::json::{Keep, MAX_WORD_BYTES, Pointers, PointersBuilder, Slot};
use crate::endpoint::entry::{CostUnit, Count, FamilyEntry, HeaderField, MarkEntry};

/// Longest model name or response id that is kept, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Longest mark (`type` and the like) that is compared, in bytes.
const MAX_MARK_BYTES: usize = 64;
/// Longest inner document of an event stream, in bytes of base64.
const MAX_INNER_BYTES: usize = 64 * 1024;

/// How to read usage from the responses of one provider.
#[derive(Debug)]
pub struct Plan {
    pub(super) pointers: Arc<Pointers>,
    /// Families with marks first, as their field names mean something else to others.
    pub(super) families: Vec<Family>,
    pub(super) inner: Vec<Slot>,
}

#[derive(Debug)]
pub(super) struct Family {
    pub(super) running: bool,
    pub(super) add_on: bool,
    pub(super) input_plus: Vec<Count>,
    pub(super) output_plus: Vec<Count>,
    pub(super) headers: Vec<(HeaderField, String)>,
    pub(super) roots: Vec<Root>,
}

/// The fields of a family below one root.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) when: Vec<Mark>,
    pub(super) done: Vec<Mark>,
    pub(super) counts: Vec<(Count, Slot)>,
    pub(super) model: Option<Slot>,
    pub(super) id: Option<Slot>,
    pub(super) cost: Option<(Slot, CostUnit)>,
    pub(super) tiers: Vec<Slot>,
}

#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at: Slot,
    pub(super) is: Vec<String>,
}

impl Plan {
    /// Compiles named families; the error names the family that is missing or wrong, and why.
    pub(crate) fn compile<'a>(
        families: impl IntoIterator<Item = (&'a str, Option<&'a FamilyEntry>)>,
    ) -> Result<Self, (String, String)> {
        let mut builder = PointersBuilder::default();
        let mut plan = Self { pointers: Arc::default(), families: Vec::new(), inner: Vec::new() };
        for (id, entry) in families {
            let wrong = |why: String| (id.to_owned(), format!("usage family `{id}`: {why}"));
            let entry = entry.ok_or_else(|| wrong("is not known".to_owned()))?;
            let mut want = |root: &str, pointer: &str, limit| {
                builder
                    .want(&format!("{root}{pointer}"), Keep::Last, limit)
                    .map_err(|error| wrong(error.to_string()))
            };
            if let Some(inner) = &entry.inner {
                plan.inner.push(want("", inner, MAX_INNER_BYTES)?);
            }
            let none = [String::new()];
            let roots = if entry.roots.is_empty() { none.as_slice() } else { &entry.roots };
            plan.families.push(Family {
                running: entry.running,
                add_on: entry.add_on,
                input_plus: entry.input_plus.clone(),
                output_plus: entry.output_plus.clone(),
                headers: entry.headers.iter().map(|(field, name)| (*field, name.clone())).collect(),
                roots: roots
                    .iter()
                    .map(|root| Root::compile(entry, |pointer, limit| want(root, pointer, limit)))
                    .collect::<Result<_, _>>()?,
            });
        }
        plan.families.sort_by_key(|family| family.roots.iter().all(|root| root.when.is_empty()));
        plan.pointers = Arc::new(builder.build());
        Ok(plan)
    }
}

impl Root {
    fn compile<E>(
        entry: &FamilyEntry,
        mut want: impl FnMut(&str, usize) -> Result<Slot, E>,
    ) -> Result<Self, E> {
        let mut marks = |list: &[MarkEntry]| -> Result<Vec<Mark>, E> {
            list.iter()
                .map(|mark| Ok(Mark { at: want(&mark.at, MAX_MARK_BYTES)?, is: mark.is.clone() }))
                .collect()
        };
        let (when, done) = (marks(&entry.when)?, marks(&entry.done)?);
        let counts = [
            (Count::Input, &entry.input),
            (Count::Output, &entry.output),
            (Count::CacheRead, &entry.cache_read),
            (Count::CacheWrite, &entry.cache_write),
            (Count::Reasoning, &entry.reasoning),
            (Count::ToolInput, &entry.tool_input),
            (Count::Citation, &entry.citation),
            (Count::CacheWrite1h, &entry.cache_write_1h),
        ];
        let counts = counts.into_iter().filter_map(|(count, at)| Some((count, at.as_deref()?)));
        Ok(Self {
            counts: counts
                .map(|(count, at)| Ok((count, want(at, MAX_WORD_BYTES)?)))
                .collect::<Result<_, E>>()?,
            model: entry.model.as_ref().map(|at| want(at, MAX_NAME_BYTES)).transpose()?,
            id: entry.id.as_ref().map(|at| want(at, MAX_NAME_BYTES)).transpose()?,
            cost: match &entry.cost {
                Some(cost) => Some((want(&cost.at, MAX_WORD_BYTES)?, cost.unit)),
                None => None,
            },
            tiers: entry.service_tier.iter().map(|at| want(at, MAX_MARK_BYTES)).collect::<Result<_, E>>()?,
            when,
            done,
        })
    }
}
