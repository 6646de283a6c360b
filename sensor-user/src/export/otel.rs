//! OpenTelemetry: each record a log record, tokens and durations of calls as metrics too.
//!
//! Names of the GenAI semantic conventions are in development and move; they stand in [`Names`] only. Stable names
//! are those of github.com/open-telemetry/semantic-conventions 1.41. For what has no name there, `keywitness.*`.
//! Prompts and answers are never exported: no record has them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    metrics::v1::{
        AggregationTemporality, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use proto::v1::{Flow, ModelCall, Record, Tokens, record::Body};
use serde::Deserialize;

use super::VERSION;

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

/// Version of the GenAI semantic conventions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
pub enum Semconv {
    /// Semantic conventions 1.41, the last with GenAI names of their own
    #[default]
    #[serde(rename = "genai-1.41")]
    #[value(name = "genai-1.41")]
    Genai141,
    /// The development version of semantic-conventions-genai
    #[serde(rename = "genai-dev")]
    #[value(name = "genai-dev")]
    GenaiDev,
}

/// The names that differ between versions.
struct Names {
    schema_url: &'static str,
    cache_write: &'static str,
    duration: &'static str,
    tokens: TokenMetric,
}

enum TokenMetric {
    /// One histogram with the attribute `gen_ai.token.type`.
    Histogram(&'static str),
    /// Counters, by the start of their names.
    Counters(&'static str),
}

static GENAI_1_41: Names = Names {
    schema_url: "https://opentelemetry.io/schemas/1.41.0",
    cache_write: "gen_ai.usage.cache_creation.input_tokens",
    duration: "gen_ai.client.operation.duration",
    tokens: TokenMetric::Histogram("gen_ai.client.token.usage"),
};

/// See docs/gen-ai/non-normative/migration.md of semantic-conventions-genai.
static GENAI_DEV: Names = Names {
    schema_url: "",
    cache_write: "gen_ai.usage.cache_write.input_tokens",
    duration: "gen_ai.client.inference.duration",
    tokens: TokenMetric::Counters("gen_ai.client.inference.usage."),
};

impl Semconv {
    fn names(self) -> &'static Names {
        match self {
            Self::Genai141 => &GENAI_1_41,
            Self::GenaiDev => &GENAI_DEV,
        }
    }
}

/// Attributes without what is not known.
#[derive(Debug, Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn add(&mut self, key: &str, value: Value) -> &mut Self {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..Default::default() });
        self
    }

    fn text(&mut self, key: &str, text: &str) -> &mut Self {
        if text.is_empty() { self } else { self.add(key, Value::StringValue(text.to_owned())) }
    }

    fn number(&mut self, key: &str, number: Option<u64>) -> &mut Self {
        match number.and_then(|number| i64::try_from(number).ok()) {
            Some(number) => self.add(key, Value::IntValue(number)),
            None => self,
        }
    }

    fn flag(&mut self, key: &str, flag: Option<bool>) -> &mut Self {
        match flag {
            Some(flag) => self.add(key, Value::BoolValue(flag)),
            None => self,
        }
    }

    fn list<'a>(&mut self, key: &str, texts: impl Iterator<Item = &'a str>) -> &mut Self {
        let text = |text: &str| AnyValue { value: Some(Value::StringValue(text.to_owned())) };
        let values: Vec<AnyValue> = texts.map(text).collect();
        if values.is_empty() { self } else { self.add(key, Value::ArrayValue(ArrayValue { values })) }
    }
}

/// A request with a log record for each of `records`.
pub fn logs(records: &[Record], semconv: Semconv) -> ExportLogsServiceRequest {
    let names = semconv.names();
    let by_host = by_host(records);
    let resource_logs = by_host.into_iter().map(|(host, records)| ResourceLogs {
        resource: Some(resource(&host)),
        scope_logs: vec![ScopeLogs {
            scope: Some(scope()),
            log_records: records.into_iter().map(|record| log(record, names)).collect(),
            schema_url: names.schema_url.to_owned(),
        }],
        schema_url: names.schema_url.to_owned(),
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

/// A request with the metrics of the calls in `records`; nothing when there are none.
pub fn metrics(records: &[Record], semconv: Semconv) -> Option<ExportMetricsServiceRequest> {
    let names = semconv.names();
    let mut resource_metrics = Vec::new();
    for (host, records) in by_host(records) {
        let metrics = host_metrics(&records, names);
        if !metrics.is_empty() {
            resource_metrics.push(ResourceMetrics {
                resource: Some(resource(&host)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    schema_url: names.schema_url.to_owned(),
                }],
                schema_url: names.schema_url.to_owned(),
            });
        }
    }
    (!resource_metrics.is_empty()).then_some(ExportMetricsServiceRequest { resource_metrics })
}

fn by_host(records: &[Record]) -> BTreeMap<String, Vec<&Record>> {
    let mut by_host: BTreeMap<String, Vec<&Record>> = BTreeMap::new();
    for record in records {
        let host = record.sensor.as_ref().map(|sensor| sensor.host.clone()).unwrap_or_default();
        by_host.entry(host).or_default().push(record);
    }
    by_host
}

fn resource(host: &str) -> Resource {
    let mut attributes = Attributes::default();
    attributes.text("service.name", "keywitness").text("service.version", VERSION).text("host.name", host);
    Resource { attributes: attributes.0, ..Default::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: "keywitness".into(), version: VERSION.into(), ..Default::default() }
}

fn log(record: &Record, names: &Names) -> LogRecord {
    let mut attributes = Attributes::default();
    common(&mut attributes, record);
    match &record.body {
        Some(Body::ModelCall(call)) => call_attributes(&mut attributes, call, names),
        Some(Body::Flow(flow)) => flow_attributes(&mut attributes, flow),
        Some(Body::Finding(finding)) => {
            let workloads = record.workloads().map(|workload| workload.id.as_str());
            attributes
                .text("keywitness.finding.id", &finding.id)
                .text("keywitness.finding.rule", &finding.rule)
                .text("keywitness.finding.severity", &finding.severity)
                .text("keywitness.finding.state", &finding.state)
                .list("keywitness.finding.workloads", workloads);
        }
        Some(Body::CredentialAccess(access)) => {
            let path = access.file.as_ref().map(|file| file.path.as_str()).unwrap_or_default();
            attributes.text("file.path", path).text("keywitness.credential_access.mode", &access.mode);
        }
        Some(Body::Session(session)) => {
            attributes
                .text("keywitness.session.id", &session.id)
                .text("gen_ai.conversation.id", &session.client_session_id)
                .text("gen_ai.agent.name", &session.agent)
                .text("keywitness.session.state", &session.state)
                .number("keywitness.session.calls", Some(session.calls));
        }
        Some(Body::Status(_)) | None => {}
    }
    let severity = severity(record);
    let body = match record.finding() {
        Some(finding) => finding.title.clone(),
        None => serde_json::to_string(record).unwrap_or_default(),
    };
    LogRecord {
        time_unix_nano: record.time,
        observed_time_unix_nano: record.time,
        severity_number: severity.into(),
        severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
        event_name: format!("keywitness.{}", record.kind),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: attributes.0,
        ..Default::default()
    }
}

fn severity(record: &Record) -> SeverityNumber {
    match record.finding().map(|finding| finding.severity.as_str()) {
        None => SeverityNumber::Info,
        Some("critical") => SeverityNumber::Fatal,
        Some("high") => SeverityNumber::Error,
        Some("medium") => SeverityNumber::Warn,
        Some(_) => SeverityNumber::Info,
    }
}

/// What all kinds have.
fn common(attributes: &mut Attributes, record: &Record) {
    if let Some((_, boot, seq)) = record.place() {
        attributes.text("keywitness.record.boot_id", boot).number("keywitness.record.seq", Some(seq));
    }
    if let Some(process) = record.process() {
        attributes
            .number("process.pid", Some(process.pid.into()))
            .text("process.executable.path", &process.exe)
            .list("process.command_args", process.args.iter().map(String::as_str))
            .text("process.creation.time", &proto::time::format(process.start_time).unwrap_or_default())
            .text("process.linux.cgroup", &process.cgroup);
    }
    if let Some(workload) = record.workload() {
        attributes
            .text("keywitness.workload.id", &workload.id)
            .text("keywitness.workload.kind", &workload.kind)
            .text("keywitness.workload.systemd.unit", &workload.unit)
            .text("keywitness.workload.spiffe_id", &workload.spiffe_id)
            .text("keywitness.workload.k8s.service_account", &workload.service_account)
            .text("k8s.pod.name", &workload.pod)
            .text("container.image.name", &workload.image);
        if workload.kind == "k8s" {
            attributes
                .text("k8s.namespace.name", &workload.namespace)
                .text("k8s.container.name", &workload.container);
        }
        if !workload.container.is_empty() {
            attributes.text("container.id", &workload.instance);
        }
    }
    if let Some(credential) = record.credential() {
        attributes
            .text("keywitness.credential.fingerprint", &credential.fingerprint)
            .text("keywitness.credential.kind", &credential.kind)
            .text("keywitness.credential.lifetime", &credential.lifetime)
            .text("keywitness.credential.evidence", &credential.evidence);
    }
    if let Some(endpoint) = record.endpoint() {
        let host = if endpoint.host.is_empty() { &endpoint.address } else { &endpoint.host };
        attributes
            .text("server.address", host)
            .number("server.port", (endpoint.port != 0).then_some(endpoint.port.into()))
            .text("network.peer.address", &endpoint.address)
            .text("gen_ai.provider.name", &endpoint.provider);
    }
}

fn call_attributes(attributes: &mut Attributes, call: &ModelCall, names: &Names) {
    let tokens = call.tokens.clone().unwrap_or_default();
    attributes
        .text("gen_ai.operation.name", &call.operation)
        .text("gen_ai.request.model", &call.model_requested)
        .flag("gen_ai.request.stream", call.stream)
        .text("gen_ai.response.model", &call.model_served)
        .text("gen_ai.response.id", &call.request_id)
        .text("gen_ai.conversation.id", &call.session_id)
        .number("gen_ai.usage.input_tokens", tokens.input)
        .number("gen_ai.usage.output_tokens", tokens.output)
        .number("gen_ai.usage.cache_read.input_tokens", tokens.cache_read)
        .number(names.cache_write, tokens.cache_write)
        .number("gen_ai.usage.reasoning.output_tokens", tokens.reasoning)
        .text("keywitness.tokens.quality", &tokens.quality)
        .number("http.response.status_code", call.status.map(u64::from))
        .text("user_agent.original", &call.user_agent)
        .text("error.type", &error_type(call))
        .text("keywitness.attribution.method", &call.binding)
        .text("keywitness.session.id", &call.session);
    if let Some(cost) = &call.cost {
        attributes
            .text("keywitness.cost.amount", &cost.amount)
            .text("keywitness.cost.currency", &cost.currency)
            .text("keywitness.cost.basis", &cost.basis);
    }
}

fn flow_attributes(attributes: &mut Attributes, flow: &Flow) {
    attributes
        .text("network.transport", &flow.protocol)
        .number("keywitness.flow.bytes_sent", flow.bytes_sent)
        .number("keywitness.flow.bytes_received", flow.bytes_received);
    if let Some(source) = &flow.source {
        attributes
            .text("network.local.address", &source.address)
            .number("network.local.port", Some(source.port.into()));
    }
    if let Some(tls) = &flow.tls {
        attributes
            .text("tls.next_protocol", &tls.alpn)
            .text("keywitness.tls.ja4", &tls.ja4)
            .text("keywitness.coverage", &tls.coverage)
            .text("keywitness.coverage.reason", &tls.coverage_reason);
    }
}

fn error_type(call: &ModelCall) -> String {
    call.status.filter(|status| *status >= 400).map(|status| status.to_string()).unwrap_or_default()
}

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

fn host_metrics(records: &[&Record], names: &Names) -> Vec<Metric> {
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

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    fn names(attributes: &[KeyValue]) -> Vec<&str> {
        attributes.iter().map(|attribute| attribute.key.as_str()).collect()
    }

    #[test]
    fn every_record_is_a_log_record_without_unknown_attributes() {
        let request = logs(&samples::all(), Semconv::default());
        let scope = &request.resource_logs[0].scope_logs[0];
        assert_eq!(scope.log_records.len(), samples::all().len());
        let call = &scope.log_records[0];
        assert_eq!(call.event_name, "keywitness.model_call");
        assert!(names(&call.attributes).contains(&"gen_ai.usage.cache_read.input_tokens"));
        assert!(!names(&call.attributes).contains(&"gen_ai.usage.reasoning.output_tokens"));
        assert_eq!(scope.log_records[2].severity_text, "ERROR");
        assert!(request.resource_logs.len() == 1);
    }

    #[test]
    fn the_version_decides_the_names_of_metrics() {
        let metric_names = |semconv| {
            let request = metrics(&samples::all(), semconv).unwrap();
            let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
            metrics.iter().map(|metric| metric.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(
            metric_names(Semconv::Genai141),
            ["gen_ai.client.operation.duration", "gen_ai.client.token.usage"]
        );
        assert_eq!(
            metric_names(Semconv::GenaiDev),
            [
                "gen_ai.client.inference.duration",
                "gen_ai.client.inference.usage.cache_read.input_tokens",
                "gen_ai.client.inference.usage.input_tokens",
                "gen_ai.client.inference.usage.output_tokens"
            ]
        );
        assert!(metrics(&samples::all()[1..], Semconv::default()).is_none());
    }

    #[test]
    fn histograms_count_each_value_once() {
        let request = metrics(&samples::all(), Semconv::default()).unwrap();
        let Some(Data::Histogram(duration)) = &request.resource_metrics[0].scope_metrics[0].metrics[0].data
        else {
            panic!("{request:?}")
        };
        let point = &duration.data_points[0];
        assert_eq!((point.count, point.sum, point.bucket_counts.iter().sum::<u64>()), (1, Some(1.5), 1));
        assert_eq!(point.bucket_counts[8], 1, "1.5 s is above 1.28 s and below 2.56 s");
        assert!((point.time_unix_nano as f64 - point.start_time_unix_nano as f64) / 1e9 >= 1.5);
    }
}
