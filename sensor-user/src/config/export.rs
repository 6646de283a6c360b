//! Section `[export.NAME]`: a receiver of records while the sensor runs.

use std::collections::BTreeMap;

use attribution::filter::{Field, Filter, Term};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::export::{
    deliver::{Address, Form},
    otel::Semconv,
};

/// One receiver.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// In which form it takes records.
    form: Form,
    /// Where it is.
    url: String,
    /// Headers of each request.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Kinds of record that it gets; all when empty.
    #[serde(default, deserialize_with = "kinds")]
    kinds: Vec<String>,
    /// Names of OpenTelemetry attributes.
    #[serde(default)]
    semconv: Semconv,
}

/// Headers may authorise, so their values are not shown.
impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { form, url, kinds, semconv, headers } = self;
        let names: Vec<&String> = headers.keys().collect();
        f.debug_struct("Export")
            .field("form", form)
            .field("url", url)
            .field("headers", &names)
            .field("kinds", kinds)
            .field("semconv", semconv)
            .finish()
    }
}

impl Export {
    /// Where it is.
    pub fn address(&self) -> Address {
        Address {
            form: self.form,
            url: self.url.clone(),
            headers: self.headers.clone().into_iter().collect(),
            semconv: self.semconv,
        }
    }

    /// What it gets.
    pub fn filter(&self) -> Filter {
        of_kinds(&self.kinds)
    }
}

fn of_kinds(kinds: &[String]) -> Filter {
    let term = |kind: &String| Term { field: Field::Kind, value: kind.clone(), not: false };
    Filter { terms: kinds.iter().map(term).collect(), ..Default::default() }
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let kinds = Vec::deserialize(deserializer)?;
    of_kinds(&kinds).check().map_err(D::Error::custom)?;
    Ok(kinds)
}
