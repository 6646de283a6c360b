//! Token usage from gRPC messages, by the field numbers of published definitions.

use proto::v1::Tokens;

use super::MAX_TOKENS;
use crate::decode::grpc::{Messages, Value, field};

/// Longest model name or response id that is kept, in bytes.
const MAX_NAME: usize = 256;

/// A gRPC method whose messages are known: paths of field numbers.
struct Method {
    /// Request target.
    path: &'static str,
    /// Whether the response comes in parts.
    streams: bool,
    /// Model in the request.
    requested: &'static [u32],
    /// Model in the response.
    served: &'static [u32],
    /// Response id.
    id: &'static [u32],
    /// Usage message in the response; in a stream the last one holds.
    usage: &'static [u32],
    /// Fields of the usage message: input, output, reasoning, cached input.
    counts: [u32; 4],
    /// The output leaves reasoning out.
    reasoning_apart: bool,
}

/// `chat.proto` and `usage.proto` of xai-org/xai-proto.
const METHODS: [Method; 2] = [
    Method {
        path: "/xai_api.Chat/GetCompletion",
        streams: false,
        requested: &[2],
        served: &[6],
        id: &[1],
        usage: &[9],
        counts: [2, 1, 6, 7],
        reasoning_apart: true,
    },
    Method {
        path: "/xai_api.Chat/GetCompletionChunk",
        streams: true,
        requested: &[2],
        served: &[4],
        id: &[1],
        usage: &[6],
        counts: [2, 1, 6, 7],
        reasoning_apart: true,
    },
];

/// Reads one gRPC call.
pub struct Grpc {
    method: Option<&'static Method>,
    request: Messages,
    response: Messages,
    damaged: bool,
    found: Found,
}

/// What its messages said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Whether its response comes in parts, where the method is known.
    pub stream: Option<bool>,
    /// The model asked for.
    pub model_requested: Option<String>,
    /// The model that answered.
    pub model_served: Option<String>,
    /// The response's own id.
    pub response_id: Option<String>,
    /// Token counts; quality as for [`super::Usage`].
    pub tokens: Tokens,
}

impl Grpc {
    /// For a request to `target`; `None` when its content type is not gRPC.
    pub fn new(target: &str, content_type: Option<&str>, encoding: Option<&str>) -> Option<Self> {
        content_type.filter(|kind| kind.starts_with("application/grpc"))?;
        let method = METHODS.iter().find(|method| method.path == target);
        Some(Self {
            method,
            request: Messages::new(encoding.unwrap_or_default()),
            response: Messages::new(""),
            damaged: false,
            found: Found { stream: method.map(|method| method.streams), ..Found::default() },
        })
    }

    /// More of the request.
    pub fn request(&mut self, bytes: &[u8]) {
        let Self { method: Some(method), request, found, .. } = self else { return };
        request.push(bytes, &mut |message| {
            found.model_requested = text(message, method.requested).or(found.model_requested.take());
        });
    }

    /// The response begins; its messages are compressed by `encoding`.
    pub fn response_head(&mut self, encoding: Option<&str>) {
        self.response = Messages::new(encoding.unwrap_or_default());
    }

    /// More of the response.
    pub fn response(&mut self, bytes: &[u8]) {
        let Self { method: Some(method), response, found, damaged: false, .. } = self else { return };
        response.push(bytes, &mut |message| {
            found.model_served = text(message, method.served).or(found.model_served.take());
            found.response_id = text(message, method.id).or(found.response_id.take());
            if let Some(Value::Bytes(usage)) = field(message, method.usage) {
                found.tokens = counts(usage, method);
            }
        });
    }

    /// A part of the response was not captured.
    pub fn gap(&mut self) {
        self.damaged = true;
    }

    /// What was said in all. `truncated`: the end of the response was not seen.
    pub fn finish(mut self, truncated: bool) -> Found {
        let cut = truncated || self.damaged || self.response.skipped() > 0 || !self.response.at_boundary();
        let counted = self.found.tokens.input.is_some() || self.found.tokens.output.is_some();
        self.found.tokens.quality = match (counted, cut) {
            (true, false) => "exact",
            (_, true) => "truncated",
            (false, false) => "unreported",
        }
        .to_owned();
        self.found
    }
}

/// Absent counts are 0 in protobuf, but a usage message says them all.
fn counts(usage: &[u8], method: &Method) -> Tokens {
    let count = |number: u32| match field(usage, &[number]) {
        Some(Value::Number(count)) => Some(count).filter(|count| *count <= MAX_TOKENS),
        Some(Value::Bytes(_)) => None,
        None => Some(0),
    };
    let [input, output, reasoning, cached] = method.counts;
    let apart = if method.reasoning_apart { count(reasoning).unwrap_or(0) } else { 0 };
    Tokens {
        input: count(input),
        output: count(output).map(|output| output.saturating_add(apart)),
        cache_read: count(cached),
        reasoning: count(reasoning),
        ..Default::default()
    }
}

fn text(message: &[u8], path: &[u32]) -> Option<String> {
    let Some(Value::Bytes(bytes)) = field(message, path) else { return None };
    let text = str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && text.len() <= MAX_NAME)?;
    Some(text.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::{Grpc, Tokens};

    fn prefixed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, message.len() as u8], message].concat()
    }

    #[test]
    fn a_stream_counts_its_last_usage() {
        let mut call = Grpc::new("/xai_api.Chat/GetCompletionChunk", Some("application/grpc"), None).unwrap();
        call.request(&prefixed(b"\x0a\x02hi\x12\x06grok-4"));
        call.response_head(None);
        // id, model, usage {completion, prompt, reasoning, cached}.
        call.response(&prefixed(b"\x0a\x01r\x22\x08grok-4-1\x32\x04\x08\x01\x10\x0a"));
        call.response(&prefixed(b"\x0a\x01r\x32\x08\x08\x05\x10\x0a\x30\x03\x38\x04"));
        let found = call.finish(false);
        assert_eq!((found.model_requested.as_deref(), found.stream), (Some("grok-4"), Some(true)));
        assert_eq!(
            (found.model_served.as_deref(), found.response_id.as_deref()),
            (Some("grok-4-1"), Some("r"))
        );
        let expected = Tokens {
            input: Some(10),
            output: Some(8),
            reasoning: Some(3),
            cache_read: Some(4),
            quality: "exact".into(),
            ..Default::default()
        };
        assert_eq!(found.tokens, expected);
    }

    #[test]
    fn an_unknown_method_reports_nothing() {
        let mut call = Grpc::new("/a.B/C", Some("application/grpc+proto"), None).unwrap();
        call.request(&prefixed(b"\x12\x01m"));
        call.response(&prefixed(b"\x4a\x02\x10\x07"));
        let found = call.finish(false);
        assert_eq!((found.model_requested, found.stream), (None, None));
        assert_eq!(found.tokens.quality, "unreported");
        assert!(Grpc::new("/a.B/C", Some("application/json"), None).is_none());
    }

    #[test]
    fn a_loss_is_told() {
        let mut call = Grpc::new("/xai_api.Chat/GetCompletion", Some("application/grpc"), None).unwrap();
        call.gap();
        call.response(&prefixed(b"\x4a\x02\x10\x07"));
        let tokens = call.finish(false).tokens;
        assert_eq!((tokens.input, tokens.quality.as_str()), (None, "truncated"));
    }
}
