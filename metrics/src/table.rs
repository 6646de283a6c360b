//! The tables of metrics. Pages, the documentation, and the tests of alert rules and dashboard are made from them.

pub mod collector;
pub mod sensor;

/// What a metric's value does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the program; its samples have `_total` behind the name.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values by upper bounds, with their number and sum.
    Histogram,
}

/// One metric as it is documented.
#[derive(Debug)]
pub struct Row {
    /// Name without the suffix of its kind.
    pub name: &'static str,
    /// What its value does.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts, in which unit.
    pub help: &'static str,
}

/// A handle to a row with `N` labels.
#[derive(Debug, Clone, Copy)]
pub struct Metric<const N: usize> {
    /// The row's name.
    pub name: &'static str,
}

/// The tables of sensor and collector.
#[cfg(test)]
pub(crate) const METRICS: [&[Row]; 2] = [sensor::METRICS, collector::METRICS];

impl Row {
    /// The names that queries use.
    pub fn sample_names(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Counter => &["_total"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_sum", "_count"],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name)).collect()
    }
}

/// Makes a handle of each line and a table of all.
macro_rules! metrics {
    ($($handle:ident $kind:ident $name:literal [$($label:literal),*] $help:literal)*) => {
        $(#[doc = $help]
        pub const $handle: Metric<{ <[&str]>::len(&[$($label),*]) }> = Metric { name: $name };)*

        /// Every metric, in the order of the page and the documentation.
        pub const METRICS: &[Row] = &[
            $(Row { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help },)*
        ];
    };
}
use metrics;
