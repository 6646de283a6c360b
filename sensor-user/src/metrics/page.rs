//! One scrape: samples by metric, as OpenMetrics text.

use std::{collections::BTreeMap, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use super::table::{Kind, METRICS, Metric, Row};

/// Media type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

/// Values by the labels they stand for.
type Series = BTreeMap<Vec<String>, f64>;

/// Samples of one moment.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<&'static str, Series>);

impl Page {
    /// Adds `value` to the sample of these labels.
    pub fn add<const N: usize>(&mut self, metric: Metric<N>, labels: [&str; N], value: f64) {
        let labels = labels.map(str::to_owned).to_vec();
        *self.0.entry(metric.name).or_default().entry(labels).or_default() += value;
    }

    /// The text, metrics in the order of the table.
    pub fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn encode_row(row: &Row, series: &Series, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match row.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
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
        Kind::Gauge => sample.encode_gauge(&value),
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let filled = METRICS.iter().filter_map(|row| Some((row, self.0.get(row.name)?)));
        filled.into_iter().try_for_each(|(row, series)| Self::encode_row(row, series, &mut encoder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table;

    #[test]
    fn samples_stand_behind_their_metric_and_hostile_labels_are_escaped() {
        let mut page = Page::default();
        page.add(table::CALLS, ["openai", "a\"b\\c\nd", "user://h/0/x"], 1.0);
        page.add(table::CALLS, ["openai", "a\"b\\c\nd", "user://h/0/x"], 2.0);
        page.add(table::RING, [], 65536.0);
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
}
