//! What collectors say of sensors, by host and kind.

use std::collections::BTreeMap;

use proto::v1::SensorReport;

use super::span::Span;

/// Hosts and kinds followed.
const MAX_REPORTS: usize = 1 << 14;
/// Longest host name, kind or detail that is kept, bytes.
const MAX_TEXT: usize = 512;

/// Reports added up.
#[derive(Debug, Default)]
pub(in crate::detect) struct Reports(BTreeMap<(String, String), Known>);

/// All reports of one kind about one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::detect) struct Known {
    /// When, and how often.
    pub(in crate::detect) span: Span,
    /// Time and text of the latest.
    pub(in crate::detect) latest: (u64, String),
}

impl Reports {
    /// Adds a report.
    pub(in crate::detect) fn add(&mut self, report: &SensorReport) {
        if [&report.host, &report.kind, &report.detail].iter().any(|text| text.len() > MAX_TEXT) {
            return;
        }
        let span = Span { first: report.first_seen, last: report.last_seen, count: report.count };
        let known = Known { span, latest: (report.last_seen, report.detail.clone()) };
        self.take((report.host.clone(), report.kind.clone()), known);
    }

    /// Adds those of other records.
    pub(in crate::detect) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|(key, known)| self.take(key, known));
    }

    /// Host, kind and what is known, in order.
    pub(in crate::detect) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Known)> {
        self.0.iter().map(|((host, kind), known)| (host.as_str(), kind.as_str(), known))
    }

    fn take(&mut self, key: (String, String), known: Known) {
        if self.0.len() >= MAX_REPORTS && !self.0.contains_key(&key) {
            return;
        }
        let all = self.0.entry(key).or_default();
        all.span.merge(&known.span);
        if known.latest > all.latest {
            all.latest = known.latest;
        }
    }
}
