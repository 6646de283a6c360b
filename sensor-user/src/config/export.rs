//! Section `[export.NAME]`: a receiver of records while the sensor runs.

use std::collections::BTreeMap;

use attribution::{
    detect::{NotifyLimits, Severity},
    filter::{Field, Filter, Term},
};
use serde::Deserialize;

use super::values::{BadValue, Within};
use crate::export::{
    deliver::{Address, Form},
    otel::Semconv,
    webhook::Body,
};

/// One receiver.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Section")]
pub struct Export {
    /// Where it is and what it takes.
    pub address: Address,
    /// What it gets.
    pub filter: Filter,
    /// How often people are told of findings; nothing where programs get each.
    pub limits: Option<NotifyLimits>,
}

/// The section as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    form: Form,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Kinds of record that it gets; all when empty.
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    semconv: Semconv,
    body: Option<Body>,
    least_severity: Option<String>,
    update_every_s: Option<Within<0, 86_400>>,
    most_per_minute: Option<Within<1, 10_000>>,
}

/// Headers may authorise, so their values are not shown.
impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, filter, limits } = self;
        let Address { form, url, headers, semconv, body } = address;
        let names: Vec<&String> = headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Export")
            .field("form", form)
            .field("url", url)
            .field("headers", &names)
            .field("semconv", semconv)
            .field("body", body)
            .field("filter", filter)
            .field("limits", limits)
            .finish()
    }
}

impl TryFrom<Section> for Export {
    type Error = BadValue;

    fn try_from(section: Section) -> Result<Self, BadValue> {
        let limits = section.limits()?;
        let body = section.body.unwrap_or_default();
        if section.body.is_some() && section.form != Form::Webhook {
            return Err(BadValue("`body` is for the form \"webhook\" only".into()));
        }
        let kinds = if body.is_finding() {
            if section.kinds.iter().any(|kind| kind != "finding") {
                return Err(BadValue("this `body` holds findings only; leave `kinds` out".into()));
            }
            vec!["finding".to_owned()]
        } else {
            section.kinds
        };
        let filter = of_kinds(&kinds);
        filter.check().map_err(|error| BadValue(error.to_string().into()))?;
        let address = Address {
            form: section.form,
            url: section.url,
            headers: section.headers.into_iter().collect(),
            semconv: section.semconv,
            body,
        };
        Ok(Self { address, filter, limits })
    }
}

impl Section {
    fn limits(&self) -> Result<Option<NotifyLimits>, BadValue> {
        let built_in = NotifyLimits::default();
        let limits = NotifyLimits {
            least: match &self.least_severity {
                None => built_in.least,
                Some(word) => Severity::parse(word).ok_or_else(|| {
                    BadValue(format!("`least_severity` is one of {}", Severity::names()).into())
                })?,
            },
            between_ns: self.update_every_s.map_or(built_in.between_ns, |every| every.get() * 1_000_000_000),
            most: self.most_per_minute.map_or(built_in.most, |most| most.get() as usize),
            ..built_in
        };
        let tells = matches!(self.form, Form::Webhook | Form::Syslog);
        if !tells && limits != built_in {
            let names = "`least_severity`, `update_every_s` and `most_per_minute`";
            return Err(BadValue(
                format!("{names} are for the forms \"webhook\" and \"syslog\" only").into(),
            ));
        }
        Ok(tells.then_some(limits))
    }
}

fn of_kinds(kinds: &[String]) -> Filter {
    let term = |kind: &String| Term { field: Field::Kind, value: kind.clone(), not: false };
    Filter { terms: kinds.iter().map(term).collect(), ..Default::default() }
}
