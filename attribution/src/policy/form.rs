//! The policy file as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value, value::Datetime};

use super::{Glob, Lifetime, Period};
use crate::detect::Severity;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PolicyForm {
    pub(super) entitlement: Vec<Spanned<EntitlementForm>>,
    pub(super) exception: Vec<Spanned<ExceptionForm>>,
    pub(super) suppress: Vec<Spanned<SuppressForm>>,
    pub(super) environment: Vec<Spanned<EnvironmentForm>>,
    pub(super) budget: Vec<Spanned<BudgetForm>>,
    pub(super) gateway: GatewayForm,
    pub(super) rules: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<Value>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntitlementForm {
    pub(super) label: Spanned<String>,
    #[serde(default)]
    pub(super) fingerprint: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) fingerprints: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) owner: String,
    #[serde(default)]
    pub(super) steward: String,
    #[serde(default)]
    pub(super) workloads: Vec<Glob>,
    #[serde(default)]
    pub(super) providers: Vec<Glob>,
    #[serde(default)]
    pub(super) models: Vec<Glob>,
    #[serde(default)]
    pub(super) environment: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) lifetime: Option<Lifetime>,
    #[serde(default)]
    pub(super) renew_by: Option<Spanned<Datetime>>,
    #[serde(default)]
    pub(super) review_by: Option<Spanned<Datetime>>,
    #[serde(default)]
    pub(super) expires: Option<Spanned<Datetime>>,
    #[serde(default)]
    pub(super) budget: Vec<Spanned<LimitForm>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitForm {
    pub(super) per: Period,
    #[serde(default)]
    pub(super) tokens: Option<u64>,
    #[serde(default)]
    pub(super) usd: Option<f64>,
    #[serde(default)]
    pub(super) calls: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetForm {
    pub(super) label: Spanned<String>,
    pub(super) workloads: Vec<Glob>,
    pub(super) per: Period,
    #[serde(default)]
    pub(super) tokens: Option<u64>,
    #[serde(default)]
    pub(super) usd: Option<f64>,
    #[serde(default)]
    pub(super) calls: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionForm {
    pub(super) rule: Spanned<String>,
    pub(super) reason: Spanned<String>,
    pub(super) until: Spanned<Datetime>,
    #[serde(default)]
    pub(super) subject: Option<Glob>,
    #[serde(default)]
    pub(super) workloads: Vec<Glob>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuppressForm {
    pub(super) rule: Spanned<String>,
    pub(super) reason: Spanned<String>,
    #[serde(default)]
    pub(super) subject: Option<Glob>,
    #[serde(default)]
    pub(super) workloads: Vec<Glob>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvironmentForm {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) hosts: Vec<Glob>,
    #[serde(default)]
    pub(super) namespaces: Vec<Glob>,
    #[serde(default)]
    pub(super) workloads: Vec<Glob>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Glob>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GatewayForm {
    pub(super) workloads: Vec<Glob>,
    pub(super) hosts: Vec<Glob>,
}

/// The words of a severity.
pub(super) fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| format!("severity is one of {}", Severity::names()))
}
