//! From text to a checked policy.

use std::collections::HashSet;

use toml::{Spanned, value::Datetime};

use super::form::{EntitlementForm, PolicyForm};
use super::{
    Budget, Entitlement, Environment, Exception, Limit, Period, Policy, PolicyError, Suppression, date,
    settings,
};
use crate::detect::RULES;

/// Most entries of one kind.
const MAX_ENTRIES: usize = 100_000;
/// Start of every fingerprint.
const FINGERPRINT: &str = "kw1-";
/// Most money of a limit, dollars: what fits into nanodollars with room to add.
const MAX_USD: f64 = 1e9;

/// Answers what fingerprint the secret in a file has.
type Files<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

struct Parser<'a> {
    text: &'a str,
    policy: Policy,
}

pub(super) fn parse(text: &str, files: Files<'_>) -> Result<Policy, PolicyError> {
    let form: PolicyForm = toml::from_str(text).map_err(|error| PolicyError::of_toml(text, &error))?;
    let entries = form.entitlement.len() + form.exception.len() + form.suppress.len() + form.budget.len();
    if entries > MAX_ENTRIES {
        return Err(PolicyError::at(text, 0, format!("more than {MAX_ENTRIES} entries")));
    }
    let mut parser = Parser { text, policy: Policy::default() };
    // Entitlements name environments.
    parser.environments(&form)?;
    for entitlement in form.entitlement {
        parser.entitlement(entitlement.into_inner(), files)?;
    }
    let mut labels = HashSet::new();
    for budget in form.budget {
        let at = budget.span().start;
        let budget = budget.into_inner();
        parser.unique(&mut labels, &budget.label)?;
        if budget.workloads.is_empty() {
            return Err(parser.wrong(at, "a budget needs workloads"));
        }
        let limit = parser.limit(at, budget.per, budget.tokens, budget.usd, budget.calls)?;
        let label = budget.label.into_inner();
        parser.policy.budgets.push(Budget { label, workloads: budget.workloads, limit });
    }
    for one in form.exception {
        let one = one.into_inner();
        let of = parser.suppression(&one.rule, &one.reason, one.subject, one.workloads)?;
        let until = parser.date(&one.until)?;
        parser.policy.exceptions.push(Exception { of, until });
    }
    for one in form.suppress {
        let one = one.into_inner();
        let of = parser.suppression(&one.rule, &one.reason, one.subject, one.workloads)?;
        parser.policy.suppressions.push(of);
    }
    for (rule, values) in &form.rules {
        if values.is_empty() && !RULES.iter().any(|known| known.name == rule.get_ref()) {
            return Err(parser.wrong(rule.span().start, settings::unknown_rule(rule.get_ref())));
        }
        for (name, value) in values {
            let set = parser.policy.settings.set(rule, name, value);
            set.map_err(|(at, message)| PolicyError::at(text, at, message))?;
        }
    }
    parser.policy.gateways = form.gateway.workloads;
    parser.policy.gateway_hosts = form.gateway.hosts;
    Ok(parser.policy)
}

impl Parser<'_> {
    fn wrong(&self, at: usize, message: impl Into<String>) -> PolicyError {
        PolicyError::at(self.text, at, message)
    }

    fn environments(&mut self, form: &PolicyForm) -> Result<(), PolicyError> {
        let mut names = HashSet::new();
        for environment in &form.environment {
            let one = environment.get_ref();
            self.unique(&mut names, &one.name)?;
            let environment = Environment {
                name: one.name.get_ref().clone(),
                hosts: one.hosts.clone(),
                namespaces: one.namespaces.clone(),
                workloads: one.workloads.clone(),
                labels: one.labels.clone(),
            };
            self.policy.environments.push(environment);
        }
        Ok(())
    }

    fn entitlement(&mut self, form: EntitlementForm, files: Files<'_>) -> Result<(), PolicyError> {
        let label = form.label.get_ref();
        if self.policy.entitlements.iter().any(|known| known.label == *label) {
            return Err(self.wrong(form.label.span().start, format!("the label `{label}` is used twice")));
        }
        let written: Vec<Spanned<String>> = form.fingerprint.into_iter().chain(form.fingerprints).collect();
        if written.is_empty() {
            return Err(self.wrong(form.label.span().start, format!("`{label}` has no fingerprint")));
        }
        let index = self.policy.entitlements.len();
        let mut fingerprints = Vec::new();
        for one in written {
            let at = one.span().start;
            let fingerprint = match one.get_ref().strip_prefix('@') {
                Some(path) => files(path).map_err(|reason| self.wrong(at, reason))?,
                None => one.into_inner(),
            };
            if !fingerprint.starts_with(FINGERPRINT) {
                let message = "a fingerprint begins with kw1-; `keywitness fingerprint` makes it, and \
                               \"@FILE\" names a file with the secret";
                return Err(self.wrong(at, message));
            }
            if self.policy.by_fingerprint.insert(fingerprint.clone(), index).is_some() {
                return Err(self.wrong(at, "another entitlement has this fingerprint"));
            }
            fingerprints.push(fingerprint);
        }
        let environment = match form.environment {
            Some(name) if !self.policy.environments.iter().any(|known| known.name == *name.get_ref()) => {
                let message = format!("there is no [[environment]] called `{}`", name.get_ref());
                return Err(self.wrong(name.span().start, message));
            }
            name => name.map(Spanned::into_inner),
        };
        let mut budget = Vec::new();
        for limit in form.budget {
            let (at, limit) = (limit.span().start, limit.into_inner());
            budget.push(self.limit(at, limit.per, limit.tokens, limit.usd, limit.calls)?);
        }
        let date = |date: Option<Spanned<Datetime>>| date.map(|date| self.date(&date)).transpose();
        let entitlement = Entitlement {
            fingerprints,
            owner: form.owner,
            steward: form.steward,
            workloads: form.workloads,
            providers: form.providers,
            models: form.models,
            environment,
            lifetime: form.lifetime,
            budget,
            renew_by: date(form.renew_by)?,
            review_by: date(form.review_by)?,
            expires: date(form.expires)?,
            label: form.label.into_inner(),
        };
        self.policy.entitlements.push(entitlement);
        Ok(())
    }

    fn limit(
        &self,
        at: usize,
        per: Period,
        tokens: Option<u64>,
        usd: Option<f64>,
        calls: Option<u64>,
    ) -> Result<Limit, PolicyError> {
        let nanos = match usd {
            Some(usd) if usd > 0.0 && usd <= MAX_USD => Some((usd * 1e9).round() as u64),
            Some(_) => return Err(self.wrong(at, "usd is more than 0 and at most a billion")),
            None => None,
        };
        if [tokens, calls].contains(&Some(0)) {
            return Err(self.wrong(at, "a limit is more than 0"));
        }
        if tokens.is_none() && nanos.is_none() && calls.is_none() {
            return Err(self.wrong(at, "a budget needs tokens, usd or calls"));
        }
        Ok(Limit { per, tokens, nanos, calls })
    }

    fn suppression(
        &self,
        rule: &Spanned<String>,
        reason: &Spanned<String>,
        subject: Option<super::Glob>,
        workloads: Vec<super::Glob>,
    ) -> Result<Suppression, PolicyError> {
        if !RULES.iter().any(|known| known.name == rule.get_ref()) {
            return Err(self.wrong(rule.span().start, settings::unknown_rule(rule.get_ref())));
        }
        if reason.get_ref().trim().is_empty() {
            return Err(self.wrong(reason.span().start, "a reason is needed"));
        }
        Ok(Suppression { rule: rule.get_ref().clone(), reason: reason.get_ref().clone(), subject, workloads })
    }

    fn date(&self, written: &Spanned<Datetime>) -> Result<u64, PolicyError> {
        let wrong = || self.wrong(written.span().start, "a date such as 2027-01-31 is needed");
        date::nanoseconds(written.get_ref()).ok_or_else(wrong)
    }

    fn unique(&self, known: &mut HashSet<String>, name: &Spanned<String>) -> Result<(), PolicyError> {
        if known.insert(name.get_ref().clone()) {
            return Ok(());
        }
        Err(self.wrong(name.span().start, format!("`{}` is used twice", name.get_ref())))
    }
}
