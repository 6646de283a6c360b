//! OpenTelemetry: each record a log record, tokens and durations of calls as metrics too.
//!
//! Names of the GenAI semantic conventions are in development and move; they stand in [`Names`] only. Stable names
//! are those of github.com/open-telemetry/semantic-conventions 1.41. For what has no name there, `keywitness.*`.
//! Prompts and answers are never exported: no record has them.

mod metrics;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
};
use proto::v1::{Flow, ModelCall, Record, record::Body};
use serde::Deserialize;

use super::VERSION;

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
        let metrics = metrics::of_host(&records, names);
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
