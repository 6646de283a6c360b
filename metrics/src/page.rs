//! One scrape: samples by metric, as OpenMetrics text.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use crate::{
    durations::{Counted, Durations},
    table::{Kind, Metric, Row},
};

/// Media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

/// Values by the labels they stand for.
type Series = BTreeMap<Vec<String>, f64>;

/// Samples of one moment.
#[derive(Debug)]
pub struct Page {
    table: &'static [Row],
    series: BTreeMap<&'static str, Series>,
    histograms: BTreeMap<&'static str, Counted>,
}

impl Page {
    /// An empty page of the metrics in `table`.
    pub const fn new(table: &'static [Row]) -> Self {
        Self { table, series: BTreeMap::new(), histograms: BTreeMap::new() }
    }

    /// Adds `value` to the sample of these labels.
    pub fn add<const N: usize>(&mut self, metric: Metric<N>, labels: [&str; N], value: f64) {
        self.put(metric.name, &labels, value);
    }

    /// Shows everything that `durations` has counted.
    pub fn histogram(&mut self, metric: Metric<0>, durations: &Durations) {
        self.histograms.insert(metric.name, durations.counted());
    }

    /// As [`Page::add`], for a metric whose labels are not known to the compiler.
    pub(crate) fn put(&mut self, name: &'static str, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        *self.series.entry(name).or_default().entry(labels).or_default() += value;
    }

    /// The text, metrics in the order of the table.
    pub fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn encode_row(&self, row: &Row, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match row.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        if let Some(Counted { buckets, sum }) = self.histograms.get(row.name) {
            let count = buckets.iter().map(|(_, count)| count).sum();
            let mut metric = encoder.encode_descriptor(row.name, row.help, None, kind)?;
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
        }
        let Some(series) = self.series.get(row.name) else { return Ok(()) };
        let mut metric = encoder.encode_descriptor(row.name, row.help, None, kind)?;
        for (labels, value) in series {
            let labels: Vec<_> = row.labels.iter().copied().zip(labels.iter().map(String::as_str)).collect();
            match labels.is_empty() {
                true => encode(row.kind, &mut metric, *value)?,
                false => encode(row.kind, &mut metric.encode_family(&labels)?, *value)?,
            }
        }
        Ok(())
    }
}

fn encode(kind: Kind, sample: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
    match kind {
        Kind::Counter => sample.encode_counter(&value, NO_EXEMPLAR),
        Kind::Gauge | Kind::Histogram => sample.encode_gauge(&value),
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.table.iter().try_for_each(|row| self.encode_row(row, &mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::table::{collector, sensor};

    #[test]
    fn samples_stand_behind_their_metric_and_hostile_labels_are_escaped() {
        let mut page = Page::new(sensor::METRICS);
        page.add(sensor::CALLS, ["openai", "a\"b\\c\nd", "user://h/0/x"], 1.0);
        page.add(sensor::CALLS, ["openai", "a\"b\\c\nd", "user://h/0/x"], 2.0);
        page.add(sensor::RING, [], 65536.0);
        let expected = "\
# HELP keywitness_ring_bytes Size of the buffer for kernel events, bytes.
# TYPE keywitness_ring_bytes gauge
keywitness_ring_bytes 65536.0
# HELP keywitness_calls Model calls.
# TYPE keywitness_calls counter
keywitness_calls_total{provider=\"openai\",model=\"a\\\"b\\\\c\\nd\",workload=\"user://h/0/x\"} 3.0
# EOF
";
        assert_eq!(page.text().unwrap(), expected);
    }

    #[test]
    fn a_histogram_has_each_duration_below_every_bound_that_it_does_not_exceed() {
        let durations = Durations::default();
        for ms in [1, 7, 10, 60_000] {
            durations.count(Duration::from_millis(ms));
        }
        let mut page = Page::new(collector::METRICS);
        page.histogram(collector::ACK, &durations);
        let text = page.text().unwrap();
        let sample = |part: &str| {
            let name = format!("keywitness_collector_ack_seconds_{part} ");
            text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok())
        };
        assert_eq!(sample("bucket{le=\"0.001\"}"), Some(1.0), "{text}");
        assert_eq!(sample("bucket{le=\"0.005\"}"), Some(1.0), "{text}");
        assert_eq!(sample("bucket{le=\"0.01\"}"), Some(3.0), "{text}");
        assert_eq!(sample("bucket{le=\"+Inf\"}"), Some(4.0), "{text}");
        assert_eq!((sample("count"), sample("sum")), (Some(4.0), Some(60.018)), "{text}");
    }
}
