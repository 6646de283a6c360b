//! Metrics of the calls of one host: durations and token counts, summed for one batch (delta temporality).

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point,
    },
};
use proto::v1::{ModelCall, Record, Tokens};

use super::{Attributes, Names, TokenMetric, error_type};

/// Bounds of token histograms (semantic conventions, gen-ai metrics).
const TOKEN_BOUNDS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// Bounds of duration histograms, seconds (same source).
const DURATION_BOUNDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const MILLIS: f64 = 1e3;

/// Token counts of a call by the type they count.
fn counts(tokens: &Tokens) -> [(&'static str, &'static str, Option<u64>); 5] {
    [
        ("input", "input_tokens", tokens.input),
        ("output", "output_tokens", tokens.output),
        ("", "cache_read.input_tokens", tokens.cache_read),
        ("", "cache_write.input_tokens", tokens.cache_write),
        ("", "reasoning.output_tokens", tokens.reasoning),
    ]
}

/// What a series of points shares. Key fingerprints and pids would make a series for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    operation: String,
    provider: String,
    requested: String,
    served: String,
    server: String,
    workload: String,
    error: String,
    token_type: &'static str,
}

impl Series {
    fn new(record: &Record, call: &ModelCall) -> Self {
        let endpoint = record.endpoint().cloned().unwrap_or_default();
        Self {
            operation: call.operation.clone(),
            provider: endpoint.provider,
            requested: call.model_requested.clone(),
            served: call.model_served.clone(),
            server: if endpoint.host.is_empty() { endpoint.address } else { endpoint.host },
            workload: record.workload().map(|workload| workload.id.clone()).unwrap_or_default(),
            error: error_type(call),
            token_type: "",
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = Attributes::default();
        attributes
            .text("gen_ai.operation.name", &self.operation)
            .text("gen_ai.provider.name", &self.provider)
            .text("gen_ai.request.model", &self.requested)
            .text("gen_ai.response.model", &self.served)
            .text("server.address", &self.server)
            .text("gen_ai.token.type", self.token_type)
            .text("error.type", &self.error)
            .text("keywitness.workload.id", &self.workload);
        attributes.0
    }
}

#[derive(Debug, Default)]
struct Values(BTreeMap<Series, Vec<f64>>);

pub(super) fn of_host(records: &[&Record], names: &Names) -> Vec<Metric> {
    let calls: Vec<(&Record, &ModelCall)> =
        records.iter().filter_map(|record| Some((*record, record.model_call()?))).collect();
    let Some(from) = calls.iter().map(|(record, _)| record.time).min() else { return Vec::new() };
    let ended = |(record, call): &(&Record, &ModelCall)| {
        record.time.saturating_add(call.duration_ms.unwrap_or(0).saturating_mul(1_000_000))
    };
    let span = (from, calls.iter().map(ended).max().unwrap_or(from));
    let mut metrics = Vec::new();
    let mut durations = Values::default();
    let mut tokens: BTreeMap<&'static str, Values> = BTreeMap::new();
    let mut usage = Values::default();
    for (record, call) in &calls {
        let series = Series::new(record, call);
        if let Some(duration) = call.duration_ms {
            durations.0.entry(series.clone()).or_default().push(duration as f64 / MILLIS);
        }
        for (token_type, name, count) in counts(&call.tokens.clone().unwrap_or_default()) {
            let Some(count) = count else { continue };
            if !token_type.is_empty() {
                let series = Series { token_type, ..series.clone() };
                usage.0.entry(series).or_default().push(count as f64);
            }
            tokens.entry(name).or_default().0.entry(series.clone()).or_default().push(count as f64);
        }
    }
    metrics.push(histogram(names.duration, "s", durations, &DURATION_BOUNDS, span));
    match names.tokens {
        TokenMetric::Histogram(name) => metrics.push(histogram(name, "{token}", usage, &TOKEN_BOUNDS, span)),
        TokenMetric::Counters(start) => {
            metrics.extend(
                tokens.into_iter().map(|(name, values)| counter(&format!("{start}{name}"), values, span)),
            );
        }
    }
    metrics.retain(|metric| match &metric.data {
        Some(Data::Histogram(histogram)) => !histogram.data_points.is_empty(),
        Some(Data::Sum(sum)) => !sum.data_points.is_empty(),
        _ => false,
    });
    metrics
}

fn histogram(name: &str, unit: &str, values: Values, bounds: &[f64], (from, to): (u64, u64)) -> Metric {
    let points = values.0.into_iter().map(|(series, values)| {
        let mut counts = vec![0; bounds.len() + 1];
        for value in &values {
            let bucket = bounds.iter().position(|bound| value <= bound).unwrap_or(bounds.len());
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
        }
        HistogramDataPoint {
            attributes: series.attributes(),
            start_time_unix_nano: from,
            time_unix_nano: to,
            count: values.len() as u64,
            sum: Some(values.iter().sum()),
            min: values.iter().copied().reduce(f64::min),
            max: values.iter().copied().reduce(f64::max),
            bucket_counts: counts,
            explicit_bounds: bounds.to_vec(),
            ..Default::default()
        }
    });
    let data = Histogram {
        data_points: points.collect(),
        aggregation_temporality: AggregationTemporality::Delta.into(),
    };
    Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        data: Some(Data::Histogram(data)),
        ..Default::default()
    }
}

fn counter(name: &str, values: Values, (from, to): (u64, u64)) -> Metric {
    let points = values.0.into_iter().map(|(series, values)| NumberDataPoint {
        attributes: series.attributes(),
        start_time_unix_nano: from,
        time_unix_nano: to,
        value: Some(number_data_point::Value::AsInt(values.iter().sum::<f64>() as i64)),
        ..Default::default()
    });
    let data = Sum {
        data_points: points.collect(),
        aggregation_temporality: AggregationTemporality::Delta.into(),
        is_monotonic: true,
    };
    Metric {
        name: name.to_owned(),
        unit: "{token}".into(),
        data: Some(Data::Sum(data)),
        ..Default::default()
    }
}
