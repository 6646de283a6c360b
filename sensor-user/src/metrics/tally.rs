//! What is counted from records as they pass: calls, tokens, cost, findings, gaps of the log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use attribution::detect::{RULES, Severity};
use proto::v1::{Gap, ModelCall, Record, Tokens, record::Body};

use super::{page::Page, table};

/// Combinations of provider, model and workload that have series of their own. Further ones go to [`OTHER`].
pub(super) const MAX_SERIES: usize = 1000;
/// Providers, currencies and causes of each kind that have series of their own.
const MAX_NAMES: usize = 200;
/// Longest label value, bytes; a longer one goes to [`OTHER`]: models are named by whoever calls them.
const MAX_LABEL_BYTES: usize = 200;
/// The label of everything over a limit.
const OTHER: &str = "other";
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
    gaps: BTreeMap<String, GapCounts>,
    /// First number of a gap that goes on.
    open_gap: Option<u64>,
}

#[derive(Debug, Default)]
struct Spent {
    calls: u64,
    tokens: [u64; 5],
    cost: BTreeMap<String, f64>,
}

#[derive(Debug, Default)]
struct GapCounts {
    gaps: u64,
    missing: u64,
}

/// Counts so far; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

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

fn label(text: &str) -> String {
    match text {
        "" => UNKNOWN,
        long if long.len() > MAX_LABEL_BYTES => OTHER,
        fits => fits,
    }
    .to_owned()
}

/// The entry of `key`, or that of `rest` when there are `limit` others already.
fn bounded<K: Ord, V: Default>(map: &mut BTreeMap<K, V>, key: K, rest: K, limit: usize) -> &mut V {
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
            Some(Body::Status(status)) => {
                let mut counts = self.lock();
                status.gaps.iter().for_each(|gap| counts.gap(gap));
            }
            _ => {}
        }
    }

    /// Puts everything counted on the page.
    pub fn fill(&self, page: &mut Page) {
        self.lock().fill(page);
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
        *self.coverage.entry(coverage).or_default() += 1;
    }

    fn finding(&mut self, rule: &str, severity: &str) {
        let rule = RULES.iter().find(|row| row.name == rule).map_or(OTHER, |row| row.name);
        let severity = Severity::parse(severity).map_or(OTHER, Severity::name);
        *self.findings.entry((rule, severity)).or_default() += 1;
    }

    fn gap(&mut self, gap: &Gap) {
        let counts = bounded(&mut self.gaps, label(&gap.cause), OTHER.to_owned(), MAX_NAMES);
        // Told when it begins, without an end, and again when it has ended; an old one only once.
        let from = Some(gap.from_seq);
        match gap.to_seq {
            0 => {
                counts.gaps += 1;
                self.open_gap = from;
            }
            last => {
                counts.gaps += u64::from(self.open_gap != from);
                counts.missing += last.saturating_add(1).saturating_sub(gap.from_seq);
                self.open_gap = None;
            }
        }
    }

    fn fill(&self, page: &mut Page) {
        for ([provider, model, workload], spent) in &self.calls {
            page.add(table::CALLS, [provider, model, workload], spent.calls as f64);
            for ((kind, _), sum) in tokens(&Tokens::default()).into_iter().zip(spent.tokens) {
                if sum > 0 {
                    page.add(table::TOKENS, [provider, model, workload, kind], sum as f64);
                }
            }
            for (currency, amount) in &spent.cost {
                page.add(table::COST, [provider, model, workload, currency], *amount);
            }
        }
        for ((provider, class), count) in &self.answers {
            page.add(table::ANSWERS, [provider, class], *count as f64);
        }
        for ([binding, complete, credential], count) in &self.coverage {
            page.add(table::COVERAGE, [binding, complete, credential], *count as f64);
        }
        // Every series is there from the start: the first finding is an increase, too.
        for (rule, severity) in RULES.iter().flat_map(|rule| Severity::ALL.map(|one| (rule.name, one.name())))
        {
            page.add(table::FINDINGS, [rule, severity], 0.0);
        }
        for ((rule, severity), count) in &self.findings {
            page.add(table::FINDINGS, [rule, severity], *count as f64);
        }
        page.add(table::LOG_GAPS, ["queue_full"], 0.0);
        for (cause, counts) in &self.gaps {
            page.add(table::LOG_GAPS, [cause], counts.gaps as f64);
            page.add(table::LOG_MISSING, [cause], counts.missing as f64);
        }
    }
}

#[cfg(test)]
mod tests;
