//! Which records somebody wants to see: plain data that travels as JSON, evaluated the same everywhere.
//!
//! Values of one field are alternatives, different fields all have to hold. A negated value keeps out
//! every record that it matches.

mod field;
mod pattern;
mod query;

#[cfg(test)]
mod tests;

pub use field::{FIELDS, Field, KINDS, Row};
pub use query::MAX_LAST;

use memchr::memmem;
use proto::v1::Record;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most conditions of one filter.
pub const MAX_TERMS: usize = 256;
/// Longest value, bytes.
pub const MAX_VALUE: usize = 512;

/// A condition on records. The default lets all through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Earliest time, nanoseconds since the epoch, included; 0 for any.
    pub since: u64,
    /// Latest time, excluded; 0 for any.
    pub until: u64,
    /// What has to hold beside the time.
    pub terms: Vec<Term>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// What is looked at.
    pub field: Field,
    /// What it is compared with.
    pub value: String,
    /// Whether records that match are kept out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// A filter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FilterError {
    /// Too many conditions.
    #[error("more than {MAX_TERMS} conditions")]
    TooMany,
    /// A value that is empty or too long.
    #[error("--{0}: a value has 1 to {MAX_VALUE} bytes")]
    Length(&'static str),
    /// A value that the field does not take.
    #[error("--{field} {value}: {reason}")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Filter {
    /// Whether its terms are within the limits and of the right form. One from outside is checked first.
    pub fn check(&self) -> Result<(), FilterError> {
        if self.terms.len() > MAX_TERMS {
            return Err(FilterError::TooMany);
        }
        for Term { field, value, .. } in &self.terms {
            let row = field.row();
            if value.is_empty() || value.len() > MAX_VALUE {
                return Err(FilterError::Length(row.name));
            }
            (row.check)(value).map_err(|reason| FilterError::Value {
                field: row.name,
                value: value.clone(),
                reason,
            })?;
        }
        Ok(())
    }

    /// Whether `record` is wanted.
    pub fn matches(&self, record: &Record) -> bool {
        if record.time < self.since || (self.until != 0 && record.time >= self.until) {
            return false;
        }
        let (wanted, unwanted): (Vec<&Term>, Vec<&Term>) = self.terms.iter().partition(|term| !term.not);
        let holds = |term: &Term| (term.field.row().matches)(record, &term.value);
        !unwanted.into_iter().any(holds)
            && FIELDS.iter().all(|row| {
                let mut asked = wanted.iter().filter(|term| term.field == row.field).peekable();
                asked.peek().is_none() || asked.any(|term| holds(term))
            })
    }

    /// Whether any record between two times, both included, can match.
    pub fn overlaps(&self, earliest: u64, latest: u64) -> bool {
        latest >= self.since && (self.until == 0 || earliest < self.until)
    }

    /// Looks for what `self` needs in lines of JSON, so that most of the others need not be parsed.
    pub fn prefilter(&self) -> Prefilter {
        let needles = FIELDS.iter().filter_map(|row| {
            let asked: Vec<&Term> =
                self.terms.iter().filter(|term| !term.not && term.field == row.field).collect();
            let pieces: Option<Vec<&str>> = asked.iter().map(|term| (row.needle)(&term.value)).collect();
            let pieces = pieces.filter(|pieces| !pieces.is_empty())?;
            Some(pieces.into_iter().map(|piece| memmem::Finder::new(piece.as_bytes()).into_owned()).collect())
        });
        Prefilter { needles: needles.collect() }
    }
}

/// See [`Filter::prefilter`].
#[derive(Debug)]
pub struct Prefilter {
    /// Of each group a line has to hold one.
    needles: Vec<Vec<memmem::Finder<'static>>>,
}

impl Prefilter {
    /// Whether the record in `line` can match. A wrong "yes" costs time, a wrong "no" never happens for
    /// lines that serde_json wrote.
    pub fn may_match(&self, line: &[u8]) -> bool {
        self.needles.iter().all(|group| group.iter().any(|needle| needle.find(line).is_some()))
    }
}
