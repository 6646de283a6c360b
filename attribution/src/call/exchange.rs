//! One call: from its request head to what its response says it used.

use proto::v1::{Credential, Tokens};
use serde::{Deserialize, Serialize};

use super::websocket::Session;
use super::{Route, Toolkit};
use crate::credential::Found;
use crate::decode::{content, sse};
use crate::endpoint::{OperationMatch, Provider, RequestFacts};
use crate::event::Task;
use crate::flow::{Host, HostEvidence};
use crate::usage::{Grpc, Meter};

/// What the catalogue says of providers that are paid by the month.
const SUBSCRIPTION: &str = "subscription";
/// Longest header value kept in a record, bytes.
const MAX_TEXT: usize = 256;
/// Response headers with an id of the request, where the provider names none of its own.
const REQUEST_IDS: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

/// A call under way.
pub struct Call {
    id: u64,
    done: Finished,
    operation: Option<OperationMatch>,
    facts: RequestFacts,
    request: content::Decoder,
    request_damaged: bool,
    provider: String,
    /// The path or the response shows a stream.
    streams: bool,
    response: Option<Response>,
    /// Its bodies are gRPC messages.
    grpc: Option<Box<Grpc>>,
    /// The request asked for a WebSocket.
    websocket: bool,
    /// `Sec-WebSocket-Extensions` of the response.
    extensions: String,
    /// Model named by the query of the request.
    model_in_query: Option<String>,
    /// When bytes of the response body were last seen.
    last_ns: u64,
}

struct Response {
    meter: Meter,
    body: content::Decoder,
    events: Option<sse::Decoder>,
    damaged: bool,
}

/// What is known of a call when it is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Who made it.
    pub task: Task,
    /// Host and its evidence.
    pub host: Option<Host>,
    /// `Host` of the request, where it is another than `host`.
    #[serde(default)]
    pub request_host: String,
    /// Provider id.
    pub provider: String,
    /// OpenTelemetry operation name, or the catalogue's id for what spends no tokens.
    pub operation: String,
    /// Its credential.
    pub credential: Option<Credential>,
    /// Model asked for.
    pub model_requested: String,
    /// Model that answered.
    pub model_served: String,
    /// HTTP status.
    pub status: Option<u32>,
    /// Whether a stream was asked for, by the body, else by the path or as the response shows.
    pub stream: Option<bool>,
    /// Tokens.
    pub tokens: Option<Tokens>,
    /// What else decides its cost.
    pub billing: Billing,
    /// First byte of the request, nanoseconds.
    pub started_ns: u64,
    /// First byte of the response.
    pub first_ns: Option<u64>,
    /// End of the response, when it was seen.
    pub ended_ns: Option<u64>,
    /// Provider's id of the request.
    pub request_id: String,
    /// Client's id of its session.
    pub session_id: String,
    /// User agent.
    pub user_agent: String,
    /// Why the end was not seen.
    pub incomplete: String,
}

/// What is known of the money for a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billing {
    /// Money that the provider itself reported, nano-dollars.
    pub reported: Option<u64>,
    /// Whether the endpoint is one of subscriptions.
    pub subscription: bool,
    /// Service tier that the response names.
    pub tier: String,
    /// Input tokens written to a cache for an hour.
    pub cache_write_1h: u64,
}

impl Call {
    /// A request head; `None` when it goes to no known model endpoint.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request head")]
    pub fn begin<'a>(
        kit: &Toolkit,
        task: &Task,
        mut host: Option<Host>,
        route: &Route,
        id: u64,
        at_ns: u64,
        method: &str,
        target: &str,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<Self> {
        let by_host = host.as_ref().and_then(|host| kit.catalogue.provider_at(&host.name, method, target));
        let provider = match by_host {
            Some(provider) => provider,
            None => {
                let remote = route.remote?;
                let usual = || kit.catalogue.self_hosted(remote, method, target).filter(|_| route.cleartext);
                let (provider, evidence) = match kit.catalogue.address(remote) {
                    Some(provider) => (provider, HostEvidence::Configured),
                    None => (usual()?, HostEvidence::UsualPort),
                };
                let name = host.map(|host| host.name).unwrap_or_default();
                host = Some(Host { name, evidence });
                provider
            }
        };
        let named = host.as_ref().map(|host| host.name.as_str()).unwrap_or_default();
        let asked = header("host").and_then(crate::endpoint::normalise);
        let request_host = asked.filter(|asked| !named.is_empty() && asked != named).unwrap_or_default();
        let operation = kit.catalogue.operation(Some(provider), method, target);
        let found = kit.extractor.extract(Some(provider), target, &header);
        let name = operation.as_ref().map(|known| if known.model_call { &known.name } else { &known.id });
        Some(Self {
            id,
            facts: RequestFacts::new(&kit.catalogue, &header),
            request: content::Decoder::new(header("content-encoding").unwrap_or_default()),
            request_damaged: false,
            provider: provider.id().to_owned(),
            streams: operation.as_ref().is_some_and(|known| streams(known, target)),
            response: None,
            grpc: Grpc::new(target, header("content-type"), header("grpc-encoding")).map(Box::new),
            websocket: header("upgrade").is_some_and(|name| name.eq_ignore_ascii_case("websocket")),
            extensions: String::new(),
            model_in_query: model_in_query(target),
            last_ns: 0,
            done: Finished {
                task: task.clone(),
                host,
                request_host,
                provider: provider.name().to_owned(),
                operation: name.cloned().unwrap_or_default(),
                credential: found.first().map(|found| credential(found, provider)),
                user_agent: text(header("user-agent")),
                started_ns: at_ns,
                billing: Billing {
                    subscription: provider.entry.billing.as_deref() == Some(SUBSCRIPTION),
                    ..Default::default()
                },
                ..Default::default()
            },
            operation,
        })
    }

    /// Number of the exchange on its connection.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Host and provider it goes to.
    pub fn destination(&self) -> Option<(Host, String)> {
        Some((self.done.host.clone()?, self.done.provider.clone()))
    }

    /// Bytes of the request body.
    pub fn request_body(&mut self, bytes: &[u8]) {
        let Self { request, facts, request_damaged, grpc, .. } = self;
        if *request_damaged {
            return;
        }
        if let Some(grpc) = grpc {
            return grpc.request(bytes);
        }
        // A body that cannot be decoded leaves the model unknown, which the record says by its absence.
        let _ = request.push(bytes, &mut |plain| facts.push(plain));
    }

    /// Part of the request body was not captured. What follows cannot be placed: text of a prompt could
    /// be taken for a field, so nothing more of it is read.
    pub fn request_gap(&mut self) {
        self.request_damaged = true;
    }

    /// The response head.
    pub fn response_head<'a>(
        &mut self,
        kit: &Toolkit,
        at_ns: u64,
        status: u16,
        header: impl Fn(&str) -> Option<&'a str>,
    ) {
        let provider = kit.catalogue.provider(&self.provider);
        let plan = provider.map_or_else(|| kit.catalogue.any_usage(), Provider::usage);
        let meter = Meter::new(plan, header("content-type"), &header);
        let named = provider.and_then(|provider| provider.request_id_header());
        self.done.request_id = text(named.into_iter().chain(REQUEST_IDS).find_map(&header));
        self.extensions = text(header("sec-websocket-extensions"));
        self.done.status = Some(u32::from(status));
        self.done.first_ns = Some(at_ns);
        self.streams |= header("content-type").is_some_and(is_event_stream);
        if let Some(grpc) = &mut self.grpc {
            grpc.response_head(header("grpc-encoding"));
        }
        self.response = Some(Response {
            events: meter.takes_events().then(sse::Decoder::new),
            meter,
            body: content::Decoder::new(header("content-encoding").unwrap_or_default()),
            damaged: false,
        });
    }

    /// Bytes of the response body.
    pub fn response_body(&mut self, bytes: &[u8], time_ns: u64) {
        let Some(response) = &mut self.response else { return };
        self.last_ns = time_ns;
        match &mut self.grpc {
            Some(grpc) => grpc.response(bytes),
            None => response.push(bytes),
        }
    }

    /// Part of the response body was not captured. As for requests, nothing after it is read: the text of
    /// an answer could be taken for its usage.
    pub fn response_gap(&mut self) {
        if let Some(grpc) = &mut self.grpc {
            grpc.gap();
        }
        if let Some(response) = &mut self.response {
            response.damaged = true;
        }
    }

    /// Whether it asked for a WebSocket.
    pub(super) fn asks_for_websocket(&self) -> bool {
        self.websocket
    }

    /// The WebSocket session that the server agreed to.
    pub(super) fn into_session(mut self, kit: &Toolkit) -> Session {
        let provider = kit.catalogue.provider(&self.provider);
        let plan = provider.map_or_else(|| kit.catalogue.any_usage(), Provider::usage);
        let in_path = self.operation.as_ref().and_then(|operation| operation.model.clone());
        self.done.session_id = self.facts.facts(None).session_id.unwrap_or_default();
        let model = in_path.or(self.model_in_query).unwrap_or_default();
        Session::new(self.id, self.done, plan, model, &self.extensions)
    }

    /// Ends the call; `incomplete` says why its response was not seen to the end.
    pub fn finish(mut self, ended_ns: u64, incomplete: Option<&str>) -> Finished {
        let in_path = self.operation.as_ref().and_then(|operation| operation.model.as_deref());
        let facts = self.facts.facts(in_path);
        let done = &mut self.done;
        done.model_requested = facts.model.unwrap_or_default();
        done.stream = facts.stream.or(self.streams.then_some(true));
        done.session_id = facts.session_id.unwrap_or_default();
        done.incomplete = incomplete.unwrap_or_default().to_owned();
        done.ended_ns = incomplete.is_none().then_some(ended_ns);
        let spends = self.operation.as_ref().is_none_or(|operation| operation.model_call);
        if let (Some(grpc), Some(_)) = (self.grpc, &self.response) {
            let found = grpc.finish(incomplete.is_some());
            done.stream = found.stream.or(done.stream);
            if let Some(model) = found.model_requested {
                done.model_requested = model;
            }
            done.model_served = found.model_served.unwrap_or_default();
            if done.request_id.is_empty() {
                done.request_id = text(found.response_id.as_deref());
            }
            done.tokens = spends.then_some(found.tokens);
        } else if let Some(response) = self.response {
            let usage = response.finish(incomplete.is_some());
            if usage.ended && incomplete.is_some() {
                done.incomplete.clear();
                done.ended_ns = Some(self.last_ns);
            }
            done.model_served = usage.model_served.unwrap_or_default();
            if done.request_id.is_empty() {
                done.request_id = text(usage.response_id.as_deref());
            }
            done.tokens = spends.then_some(usage.tokens);
            done.billing.reported = usage.provider_cost;
            done.billing.tier = text(usage.service_tier.as_deref());
            done.billing.cache_write_1h = usage.cache_write_1h;
        } else if spends {
            done.tokens = Some(Tokens { quality: "unreported".into(), ..Default::default() });
        }
        self.done
    }
}

impl Response {
    fn push(&mut self, bytes: &[u8]) {
        let Self { meter, body, events, damaged } = self;
        if *damaged {
            return;
        }
        let result = body.push(bytes, &mut |plain| match events {
            Some(events) => events.push(plain, &mut |event| meter.sse_event(event.event, event.data)),
            None => meter.push(plain),
        });
        *damaged |= result.is_err();
    }

    fn finish(mut self, truncated: bool) -> crate::usage::Usage {
        if self.damaged {
            return self.meter.finish(true);
        }
        let Self { meter, body, events, .. } = &mut self;
        let ended = body.finish(&mut |plain| match events {
            Some(events) => events.push(plain, &mut |event| meter.sse_event(event.event, event.data)),
            None => meter.push(plain),
        });
        self.meter.finish(truncated || ended.is_err())
    }
}

fn credential(found: &Found, provider: &Provider) -> Credential {
    let issuer = if found.provider.is_empty() { provider.id() } else { &found.provider };
    Credential { provider: issuer.to_owned(), ..found.record() }
}

/// Whether the path of a model call names its streaming form: `:streamGenerateContent` (Gemini),
/// `/converse-stream` (Bedrock), `/chat_stream` (watsonx).
fn streams(operation: &OperationMatch, target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    // A model that stands last may be called anything.
    let is_model = operation.model.as_ref().is_some_and(|model| model.ends_with(last));
    let verb = last.rsplit_once(':').is_some_and(|(_, verb)| verb.starts_with("stream"));
    operation.model_call && !is_model && (verb || last.ends_with("-stream") || last.ends_with("_stream"))
}

/// Server-sent events (HTML, section 9.2.5) and AWS event stream messages.
fn is_event_stream(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    ["text/event-stream", "application/vnd.amazon.eventstream"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

/// `model` of a query: realtime sessions name it there.
fn model_in_query(target: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix("model="))?;
    Some(text(Some(value))).filter(|model| !model.is_empty())
}

/// A header value fit for a record: bounded, without control characters.
fn text(value: Option<&str>) -> String {
    let value = value.unwrap_or_default();
    let end = (0..=value.len().min(MAX_TEXT)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    value[..end].chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_text_is_bounded_and_clean() {
        assert_eq!(text(Some("a\u{1b}[31mb")), "a[31mb");
        assert_eq!(text(Some(&"é".repeat(300))).len(), MAX_TEXT);
    }
}
