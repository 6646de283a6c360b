//! What is counted from records as they pass: calls, tokens, cost, findings.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use attribution::detect::{RULES, Severity};
use proto::v1::{ModelCall, Record, Tokens, record::Body};

use crate::{
    Page,
    table::{collector, sensor},
};

/// Combinations of provider, model and workload that have series of their own. Further ones go to [`OTHER`].
pub const MAX_SERIES: usize = 1000;
/// Providers, currencies, bindings and causes that have series of their own.
const MAX_NAMES: usize = 200;
/// Longest label value, bytes; a longer one goes to [`OTHER`]: models are named by whoever calls them.
const MAX_LABEL_BYTES: usize = 200;
/// The label of everything over a limit.
pub const OTHER: &str = "other";
/// The label of what is not known.
const UNKNOWN: &str = "unknown";

/// Provider, model and workload.
type Who = [String; 3];

#[derive(Debug, Default)]
struct Counts {
    calls: BTreeMap<Who, Spent>,
    answers: BTreeMap<(String, &'static str), u64>,
    coverage: BTreeMap<[String; 3], u64>,
    findings: BTreeMap<(&'static str, &'static str), u64>,
}

#[derive(Debug, Default)]
struct Spent {
    calls: u64,
    tokens: [u64; 5],
    cost: BTreeMap<String, f64>,
}

/// Counts so far; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

/// The metrics that show a tally; those of a collector have the tenant before the labels of a sensor's.
#[derive(Debug)]
pub struct Names {
    calls: &'static str,
    tokens: &'static str,
    cost: &'static str,
    answers: &'static str,
    coverage: &'static str,
    findings: &'static str,
}

impl Names {
    /// Those of a sensor.
    pub const SENSOR: Self = Self {
        calls: sensor::CALLS.name,
        tokens: sensor::TOKENS.name,
        cost: sensor::COST.name,
        answers: sensor::ANSWERS.name,
        coverage: sensor::COVERAGE.name,
        findings: sensor::FINDINGS.name,
    };
    /// Those of a tenant of a collector.
    pub const TENANT: Self = Self {
        calls: collector::CALLS.name,
        tokens: collector::TOKENS.name,
        cost: collector::COST.name,
        answers: collector::ANSWERS.name,
        coverage: collector::COVERAGE.name,
        findings: collector::FINDINGS.name,
    };

    #[cfg(test)]
    pub(crate) const fn all(&self) -> [&'static str; 6] {
        [self.calls, self.tokens, self.cost, self.answers, self.coverage, self.findings]
    }
}

/// A page, and the labels that stand before those of a tally.
struct Columns<'a> {
    page: &'a mut Page,
    before: Option<&'a str>,
}

impl Columns<'_> {
    fn put(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let labels: Vec<&str> = self.before.into_iter().chain(labels.iter().copied()).collect();
        self.page.put(name, &labels, value);
    }
}

/// Names and counts of the kinds of tokens.
fn tokens(tokens: &Tokens) -> [(&'static str, Option<u64>); 5] {
    [
        ("input", tokens.input),
        ("output", tokens.output),
        ("cache_read", tokens.cache_read),
        ("cache_write", tokens.cache_write),
        ("reasoning", tokens.reasoning),
    ]
}

fn class(status: Option<u32>) -> &'static str {
    match status.map(|status| status / 100) {
        None => "none",
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        Some(_) => OTHER,
    }
}

/// The value of a label: known, and of bounded length.
pub fn label(text: &str) -> String {
    match text {
        "" => UNKNOWN,
        long if long.len() > MAX_LABEL_BYTES => OTHER,
        fits => fits,
    }
    .to_owned()
}

/// The entry of `key`, or that of `rest` when there are `limit` others already.
pub fn bounded<K: Ord, V: Default>(map: &mut BTreeMap<K, V>, key: K, rest: K, limit: usize) -> &mut V {
    let key = if map.len() < limit || map.contains_key(&key) { key } else { rest };
    map.entry(key).or_default()
}

impl Tally {
    /// Counts one record.
    pub fn count(&self, record: &Record) {
        match &record.body {
            Some(Body::ModelCall(call)) => self.lock().call(record, call),
            Some(Body::Finding(finding)) if finding.state == "open" => {
                self.lock().finding(&finding.rule, &finding.severity);
            }
            _ => {}
        }
    }

    /// Puts everything counted on the page; `tenant` is the first label where `names` are those of a tenant.
    pub fn fill(&self, page: &mut Page, names: &Names, tenant: Option<&str>) {
        self.lock().fill(&mut Columns { page, before: tenant }, names);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn call(&mut self, record: &Record, call: &ModelCall) {
        let provider = label(record.endpoint().map_or("", |endpoint| &endpoint.provider));
        let model = [&call.model_served, &call.model_requested].into_iter().find(|name| !name.is_empty());
        let workload = label(record.workload().map_or("", |workload| &workload.id));
        let who = [provider.clone(), label(model.map_or("", String::as_str)), workload];
        let spent = bounded(&mut self.calls, who, [OTHER; 3].map(str::to_owned), MAX_SERIES);
        spent.calls += 1;
        for (sum, (_, count)) in spent.tokens.iter_mut().zip(call.tokens.iter().flat_map(tokens)) {
            *sum = sum.saturating_add(count.unwrap_or_default());
        }
        if let Some(cost) = &call.cost
            && let Ok(amount) = cost.amount.parse::<f64>()
        {
            *bounded(&mut spent.cost, label(&cost.currency), OTHER.to_owned(), MAX_NAMES) += amount;
        }
        let other = (OTHER.to_owned(), class(call.status));
        *bounded(&mut self.answers, (provider, class(call.status)), other, MAX_NAMES) += 1;
        let known = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let coverage = [
            label(&call.binding),
            known(call.incomplete_reason.is_empty()),
            known(record.credential().is_some_and(|credential| !credential.fingerprint.is_empty())),
        ];
        let other = [OTHER; 3].map(str::to_owned);
        *bounded(&mut self.coverage, coverage, other, MAX_NAMES) += 1;
    }

    fn finding(&mut self, rule: &str, severity: &str) {
        let rule = RULES.iter().find(|row| row.name == rule).map_or(OTHER, |row| row.name);
        let severity = Severity::parse(severity).map_or(OTHER, Severity::name);
        *self.findings.entry((rule, severity)).or_default() += 1;
    }

    fn fill(&self, columns: &mut Columns<'_>, names: &Names) {
        for ([provider, model, workload], spent) in &self.calls {
            columns.put(names.calls, &[provider, model, workload], spent.calls as f64);
            for ((kind, _), sum) in tokens(&Tokens::default()).into_iter().zip(spent.tokens) {
                if sum > 0 {
                    columns.put(names.tokens, &[provider, model, workload, kind], sum as f64);
                }
            }
            for (currency, amount) in &spent.cost {
                columns.put(names.cost, &[provider, model, workload, currency], *amount);
            }
        }
        for ((provider, class), count) in &self.answers {
            columns.put(names.answers, &[provider, class], *count as f64);
        }
        for ([binding, complete, credential], count) in &self.coverage {
            columns.put(names.coverage, &[binding, complete, credential], *count as f64);
        }
        // Every series is there from the start: the first finding is an increase, too.
        for (rule, severity) in RULES.iter().flat_map(|rule| Severity::ALL.map(|one| (rule.name, one.name())))
        {
            columns.put(names.findings, &[rule, severity], 0.0);
        }
        for ((rule, severity), count) in &self.findings {
            columns.put(names.findings, &[rule, severity], *count as f64);
        }
    }
}

#[cfg(test)]
mod tests;
