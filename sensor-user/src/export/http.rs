//! A small HTTP client: one request, one bounded answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::deliver::Failure;

/// Time for one request and its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;
/// Longest part of an answer in an error, in characters.
const MAX_TOLD: usize = 200;

/// Posts to one address.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    headers: Vec<(String, String)>,
}

impl Http {
    /// A client that adds `headers` to each request; TLS trusts what the host trusts.
    pub(super) fn new(headers: &[(String, String)]) -> anyhow::Result<Self> {
        let connector =
            HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, headers: headers.to_vec() })
    }

    /// Posts `body`; the answer when it is a good one.
    pub(super) async fn post(&self, to: &Uri, content_type: &str, body: Vec<u8>) -> Result<Bytes, Failure> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(to)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, concat!("keywitness/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::refused(format!("bad header: {error}")))?;
        let exchange = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| Failure::again(uplink::with_causes(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| Failure::again(error.to_string()))?.to_bytes();
            if head.status.is_success() {
                return Ok(body);
            }
            let told: String = String::from_utf8_lossy(&body).chars().take(MAX_TOLD).collect();
            let message = format!("HTTP {}: {told}", head.status);
            let after =
                head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(match head.status {
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => {
                    Failure { after: after.map(Duration::from_secs), ..Failure::again(message) }
                }
                _ => Failure::refused(message),
            })
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failure::again(format!("no answer from {to} in {} s", TIMEOUT.as_secs()))),
        }
    }
}
