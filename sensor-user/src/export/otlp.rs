//! OTLP (github.com/open-telemetry/opentelemetry-proto) over gRPC and over HTTP with protobuf.

use std::time::Duration;

use hyper::Uri;
use opentelemetry_proto::tonic::collector::{
    logs::v1::{ExportLogsServiceResponse, logs_service_client::LogsServiceClient},
    metrics::v1::{ExportMetricsServiceResponse, metrics_service_client::MetricsServiceClient},
};
use prost::Message;
use proto::v1::Record;
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    deliver::{Accepted, Failure},
    http::Http,
    otel::{Semconv, logs, metrics},
};

/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);
const PROTOBUF: &str = "application/x-protobuf";

/// A receiver.
pub(super) struct Otlp {
    semconv: Semconv,
    by: By,
}

enum By {
    Grpc {
        logs: LogsServiceClient<Channel>,
        metrics: MetricsServiceClient<Channel>,
        headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    },
    Http {
        client: Http,
        logs: Uri,
        metrics: Uri,
    },
}

impl Otlp {
    /// Over gRPC. Nothing is connected yet.
    pub(super) fn grpc(url: &str, headers: &[(String, String)], semconv: Semconv) -> anyhow::Result<Self> {
        let mut endpoint = Endpoint::from_shared(url.to_owned())?.timeout(TIMEOUT).connect_timeout(TIMEOUT);
        if url.starts_with("https:") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        let channel = endpoint.connect_lazy();
        let headers = headers.iter().map(|(name, value)| {
            Ok((AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes())?, value.parse()?))
        });
        let by = By::Grpc {
            logs: LogsServiceClient::new(channel.clone()).send_compressed(CompressionEncoding::Gzip),
            metrics: MetricsServiceClient::new(channel).send_compressed(CompressionEncoding::Gzip),
            headers: headers.collect::<anyhow::Result<_>>()?,
        };
        Ok(Self { semconv, by })
    }

    /// Over HTTP; `url` is the base that `/v1/logs` is appended to.
    pub(super) fn http(url: &str, headers: &[(String, String)], semconv: Semconv) -> anyhow::Result<Self> {
        let base = url.trim_end_matches('/');
        let by = By::Http {
            client: Http::new(headers)?,
            logs: format!("{base}/v1/logs").parse()?,
            metrics: format!("{base}/v1/metrics").parse()?,
        };
        Ok(Self { semconv, by })
    }

    /// Sends `records`, and metrics of the calls among them.
    pub(super) async fn deliver(&mut self, records: &[Record]) -> Result<Accepted, Failure> {
        let log_request = logs(records, self.semconv);
        let metric_request = metrics(records, self.semconv);
        let answer = match &mut self.by {
            By::Grpc { logs, headers, .. } => {
                let request = with(headers, log_request);
                logs.export(request).await.map_err(of_status)?.into_inner()
            }
            By::Http { client, logs, .. } => {
                let answer = client.post(logs, PROTOBUF, log_request.encode_to_vec()).await?;
                ExportLogsServiceResponse::decode(answer)
                    .map_err(|error| Failure::refused(error.to_string()))?
            }
        };
        let refused = answer.partial_success.map(|partial| {
            if !partial.error_message.is_empty() {
                tracing::warn!(message = partial.error_message, "the OTLP receiver refused some records");
            }
            u64::try_from(partial.rejected_log_records).unwrap_or(0)
        });
        // The log records are there now: sending them again because of the metrics would double them.
        if let Some(request) = metric_request
            && let Err(failure) = self.deliver_metrics(request).await
        {
            tracing::warn!(error = failure.message, "metrics of a batch were not taken by the OTLP receiver");
        }
        Ok(Accepted { refused: refused.unwrap_or(0) })
    }

    async fn deliver_metrics(
        &mut self,
        request: opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest,
    ) -> Result<(), Failure> {
        match &mut self.by {
            By::Grpc { metrics, headers, .. } => {
                let request = with(headers, request);
                metrics.export(request).await.map_err(of_status)?;
            }
            By::Http { client, metrics, .. } => {
                let answer = client.post(metrics, PROTOBUF, request.encode_to_vec()).await?;
                ExportMetricsServiceResponse::decode(answer)
                    .map_err(|error| Failure::refused(error.to_string()))?;
            }
        }
        Ok(())
    }
}

fn with<T>(headers: &[(AsciiMetadataKey, AsciiMetadataValue)], message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(name.clone(), value.clone());
    }
    request
}

/// Which codes may be tried again (OTLP specification 1.9, "Failures").
fn of_status(status: Status) -> Failure {
    let message = format!("gRPC {:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::again(message),
        _ => Failure::refused(message),
    }
}
