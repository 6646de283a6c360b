//! Answers to gRPC calls, by the field numbers of xAI's published `chat.proto` and `usage.proto`.

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{HeaderMap, Response, header::HeaderValue};

use super::{answer::COMPLETION, body::Pieces, truth::Truth, usage::Counts};

/// Content type of gRPC.
pub(super) const CONTENT_TYPE: &str = "application/grpc";
/// Compression flag and length before each message.
const PREFIX: usize = 5;
/// Field of the model in a request.
const MODEL: u64 = 2;

/// Answers the request `body` that `truth` describes, and completes `truth`.
pub(super) fn answer(truth: &mut Truth, body: &[u8], counts: &Counts) -> Result<Response<Pieces>> {
    let message = body.get(PREFIX..).context("a request shorter than the prefix of gRPC")?;
    truth.model = field(message, MODEL);
    truth.model_served = truth.model.as_ref().map(|model| format!("{model}-2026-01-15"));
    truth.stream = truth.path.ends_with("Chunk");
    counts.chat(truth);
    truth.status = 200;
    let usage = [
        number(1, counts.output - counts.reasoning),
        number(2, counts.input),
        number(6, counts.reasoning),
        number(7, counts.cache_read),
    ]
    .concat();
    let served = truth.model_served.clone().unwrap_or_default();
    let id = text(1, truth.request_id.as_bytes());
    let messages = if truth.stream {
        let part = |usage: Vec<u8>| [id.clone(), text(4, served.as_bytes()), usage].concat();
        vec![part(text(2, COMPLETION.as_bytes())), part(text(6, &usage))]
    } else {
        vec![[id, text(2, COMPLETION.as_bytes()), text(6, served.as_bytes()), text(9, &usage)].concat()]
    };
    let pieces = messages.iter().map(|message| prefixed(message)).collect::<Result<Vec<_>>>()?;
    let trailers = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("0"))]);
    let response = Response::builder().header("content-type", CONTENT_TYPE);
    let response = response.header("x-request-id", &truth.request_id);
    Ok(response.body(Pieces::new(pieces, true).with_trailers(trailers))?)
}

fn prefixed(message: &[u8]) -> Result<Bytes> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok([&[0], length.as_slice(), message].concat().into())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 & 0x7f | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn text(field: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// The text of a field of a message that holds only fields with a length.
fn field(mut message: &[u8], wanted: u64) -> Option<String> {
    while !message.is_empty() {
        let (tag, length) = (read(&mut message)?, read(&mut message)?);
        let (value, rest) = message.split_at_checked(usize::try_from(length).ok()?)?;
        if tag == wanted << 3 | 2 {
            return String::from_utf8(value.to_vec()).ok();
        }
        message = rest;
    }
    None
}

fn read(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
