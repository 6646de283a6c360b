//! One HTTP exchange: read the request, log the truth, answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use http_body_util::{BodyExt, Limited};
use hyper::{HeaderMap, Request, Response, body::Incoming, header};
use serde_json::Value;

use super::{
    answer::answer,
    body::Pieces,
    encode, grpc,
    truth::{Log, Truth},
    usage::Counts,
    websocket,
};

/// Largest request body on the wire, bytes.
const MAX_BODY: usize = 4 << 20;

/// State shared by all connections.
pub(super) struct State {
    pub(super) log: Log,
    pub(super) requests: AtomicU64,
}

/// A connection's peer.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) sni: Option<String>,
}

/// Answers one request.
pub(super) async fn exchange(
    state: &Arc<State>,
    peer: &Peer,
    mut request: Request<Incoming>,
) -> Result<Response<Pieces>> {
    let received = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let upgrade = websocket::asked(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let text = |name: &str| text(&head.headers, name);
    let query = head.uri.query().unwrap_or("");
    let number = state.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let mut truth = Truth {
        source_address: peer.address.ip().to_string(),
        source_port: peer.address.port(),
        host: match text("host") {
            // In HTTP/2 it is a part of the target (RFC 9113 section 8.3.1).
            host if host.is_empty() => head.uri.host().unwrap_or_default().to_owned(),
            host => host,
        },
        sni: peer.sni.clone(),
        http: format!("{:?}", head.version),
        path: head.uri.path().to_owned(),
        key: key(&head.headers, query),
        request_id: format!("req_{:x}_{number:06}", std::process::id()),
        user_agent: text("user-agent"),
        received_ns: u64::try_from(received.as_nanos())?,
        ..Truth::default()
    };
    if let Some(upgrade) = upgrade {
        truth.model = parameter(query, "model").map(str::to_owned);
        return websocket::accept(Arc::clone(state), truth, &head.headers, upgrade);
    }
    let body =
        Limited::new(body, MAX_BODY).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    if text("content-type").starts_with(grpc::CONTENT_TYPE) {
        let response = grpc::answer(&mut truth, &body, &Counts::of_request(number))?;
        state.log.add(&truth)?;
        return Ok(response);
    }
    let body = encode::decode(&body, &text("content-encoding"))?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let made = answer(&mut truth, &body, &Counts::of_request(number));

    let mut accepted = text("accept-encoding");
    // OpenAI is not known to compress its streams.
    if truth.stream && !truth.path.ends_with("/messages") {
        accepted.clear();
    }
    let coding = encode::choose(parameter(query, "encoding"), &accepted);
    let pieces = encode::encode(&made.pieces, coding)?;
    if let Some(wait) = parameter(query, "delay_ms").and_then(|text| text.parse().ok()) {
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
    }
    truth.status = made.status;
    coding.trim_end_matches("-unlabelled").clone_into(&mut truth.encoding);
    state.log.add(&truth)?;

    let kind = if truth.stream { "text/event-stream" } else { "application/json" };
    let id_header = match truth.host.as_str() {
        host if host.contains("anthropic") => "request-id",
        host if host.contains("amazonaws") => "x-amzn-requestid",
        _ => "x-request-id",
    };
    let mut response = Response::builder()
        .status(made.status)
        .header(header::CONTENT_TYPE, kind)
        .header(id_header, &truth.request_id);
    for (name, value) in &made.headers {
        response = response.header(*name, value);
    }
    if !coding.is_empty() && !coding.ends_with("-unlabelled") {
        response = response.header(header::CONTENT_ENCODING, coding);
    }
    let chunked = truth.stream || parameter(query, "framing") == Some("chunked");
    Ok(response.body(Pieces::new(pieces, chunked))?)
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The credential as presented, wherever providers take it; for SigV4 its access key id.
fn key(headers: &HeaderMap, query: &str) -> String {
    let authorization = text(headers, "authorization");
    if let Some(token) = authorization.strip_prefix("Bearer ") {
        return token.to_owned();
    }
    if let Some((_, scope)) = authorization.split_once("Credential=") {
        return scope.split('/').next().unwrap_or("").to_owned();
    }
    let found = ["x-api-key", "x-goog-api-key", "api-key"].map(|name| text(headers, name));
    found
        .into_iter()
        .find(|value| !value.is_empty())
        .unwrap_or_else(|| parameter(query, "key").unwrap_or("").to_owned())
}
