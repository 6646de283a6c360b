//! What is allowed: entitlements, exceptions, environments, budgets and the settings of rules.
//!
//! Parsing is pure: what a `@file` holds is asked of the caller.

pub(crate) mod date;
mod error;
mod form;
mod glob;
mod parse;
mod settings;
mod suggest;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

pub use error::PolicyError;
pub use glob::Glob;
pub use settings::{RuleSettings, Settings};
pub use suggest::suggest;

/// Everything that is allowed and set. The default allows nothing and forbids nothing: rules that need
/// entitlements are silent without any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Credentials and what they are for.
    pub entitlements: Vec<Entitlement>,
    /// Temporary permissions.
    pub exceptions: Vec<Exception>,
    /// Findings that nobody wants.
    pub suppressions: Vec<Suppression>,
    /// Environments; the first that fits counts.
    pub environments: Vec<Environment>,
    /// Budgets of principals and sessions.
    pub budgets: Vec<Budget>,
    /// Principals that call on behalf of others.
    pub gateways: Vec<Glob>,
    /// Hosts that take keys of other providers and pass them on.
    pub gateway_hosts: Vec<Glob>,
    /// Settings of the rules.
    pub settings: Settings,
    by_fingerprint: HashMap<String, usize>,
}

/// A credential with an owner and a scope. An empty list allows everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entitlement {
    /// Name, unique.
    pub label: String,
    /// Fingerprints: more than one while keys are rotated.
    pub fingerprints: Vec<String>,
    /// Who pays.
    pub owner: String,
    /// Who looks after it.
    pub steward: String,
    /// Principals that may use it.
    pub workloads: Vec<Glob>,
    /// Providers it may be sent to.
    pub providers: Vec<Glob>,
    /// Models it may be used for.
    pub models: Vec<Glob>,
    /// Environment it belongs to.
    pub environment: Option<String>,
    /// What kind of key it has to be.
    pub lifetime: Option<Lifetime>,
    /// Limits of use.
    pub budget: Vec<Limit>,
    /// When the key has to be renewed, nanoseconds since the epoch.
    pub renew_by: Option<u64>,
    /// When the entitlement has to be looked at again.
    pub review_by: Option<u64>,
    /// When it ends.
    pub expires: Option<u64>,
}

/// What kind of key is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Any.
    Any,
    /// One that ends by itself soon.
    ShortLived,
}

/// What a limit is counted over. Days and months are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// One session.
    Session,
    /// One day.
    Day,
    /// One calendar month.
    Month,
}

/// The most that may be used in a period; at least one of the three is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Counted over.
    pub per: Period,
    /// Tokens, input and output.
    pub tokens: Option<u64>,
    /// Money, nanodollars.
    pub nanos: Option<u64>,
    /// Calls.
    pub calls: Option<u64>,
}

/// A limit of each principal that fits, or of each of its sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// Name, unique.
    pub label: String,
    /// Principals it holds for.
    pub workloads: Vec<Glob>,
    /// The limit.
    pub limit: Limit,
}

/// A finding that is allowed for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    /// Which findings.
    pub of: Suppression,
    /// When it ends, nanoseconds since the epoch.
    pub until: u64,
}

/// Findings that are not told.
#[derive(Debug, Clone, PartialEq)]
pub struct Suppression {
    /// Rule.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// What they are about; everything when absent.
    pub subject: Option<Glob>,
    /// Principals: all that take part have to fit one; everybody when empty.
    pub workloads: Vec<Glob>,
}

/// Where something runs. Any one of the lists makes it fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Name, such as `production`.
    pub name: String,
    /// Host names.
    pub hosts: Vec<Glob>,
    /// Kubernetes namespaces.
    pub namespaces: Vec<Glob>,
    /// Principals.
    pub workloads: Vec<Glob>,
    /// Labels of workloads.
    pub labels: BTreeMap<String, Glob>,
}

/// What an environment is chosen by.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Stable id of the principal.
    pub id: &'a str,
    /// Host name.
    pub host: &'a str,
    /// Kubernetes namespace.
    pub namespace: &'a str,
    /// Labels of the workload.
    pub labels: &'a BTreeMap<String, String>,
}

impl Policy {
    /// Reads a policy. `file` answers what fingerprint the secret in a `@file` has, or why it cannot say.
    pub fn parse(
        text: &str,
        file: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, PolicyError> {
        parse::parse(text, file)
    }

    /// The entitlement of a fingerprint.
    pub fn entitlement(&self, fingerprint: &str) -> Option<&Entitlement> {
        self.entitlements.get(*self.by_fingerprint.get(fingerprint)?)
    }

    /// The environment of a place, where one fits.
    pub fn environment(&self, place: Place<'_>) -> Option<&str> {
        self.environments.iter().find(|environment| environment.fits(place)).map(|one| one.name.as_str())
    }

    /// Whether a principal is a declared gateway.
    pub fn is_gateway(&self, principal: &str) -> bool {
        any(&self.gateways, principal)
    }

    /// Whether a finding is not told at `now`: suppressed, or allowed for a while.
    pub fn is_silenced(&self, rule: &str, subject: &str, principals: &[&str], now: u64) -> bool {
        let exceptions = self.exceptions.iter().filter(|one| now < one.until).map(|one| &one.of);
        self.suppressions.iter().chain(exceptions).any(|one| one.covers(rule, subject, principals))
    }
}

impl Suppression {
    fn covers(&self, rule: &str, subject: &str, principals: &[&str]) -> bool {
        self.rule == rule
            && self.subject.as_ref().is_none_or(|glob| glob.matches(subject))
            && (self.workloads.is_empty()
                || (!principals.is_empty() && principals.iter().all(|one| any(&self.workloads, one))))
    }
}

impl Environment {
    fn fits(&self, place: Place<'_>) -> bool {
        let label =
            |(name, glob): (&String, &Glob)| place.labels.get(name).is_some_and(|value| glob.matches(value));
        any(&self.hosts, place.host)
            || (!place.namespace.is_empty() && any(&self.namespaces, place.namespace))
            || any(&self.workloads, place.id)
            || self.labels.iter().any(label)
    }
}

/// Whether one of `globs` matches.
pub fn any(globs: &[Glob], text: &str) -> bool {
    globs.iter().any(|glob| glob.matches(text))
}
