//! Answers in the shape of each provider, chosen by the request's path.

use serde_json::{Value, json};

use super::{openai, truth::Truth, usage::Counts};

/// Text of every completion; no record may hold it.
pub const COMPLETION: &str = "COMPLETION-CANARY-7f3a";

/// Response pieces sent and flushed one by one.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) pieces: Vec<String>,
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self { status: 200, headers: Vec::new(), pieces: vec![value.to_string()] }
    }

    fn error(status: u16, kind: &str) -> Self {
        let body = json!({"type": "error", "error": {"type": kind, "code": kind, "message": kind}});
        Self { status, ..Self::json(&body) }
    }

    pub(super) fn events(events: &[(&str, Value)]) -> Self {
        let piece = |(name, data): &(&str, Value)| match *name {
            "" => format!("data: {data}\n\n"),
            name => format!("event: {name}\ndata: {data}\n\n"),
        };
        Self { status: 200, headers: Vec::new(), pieces: events.iter().map(piece).collect() }
    }
}

/// Answers the request `body` that `truth` describes, and completes `truth`.
pub(super) fn answer(truth: &mut Truth, body: &Value, counts: &Counts) -> Answer {
    let path = truth.path.clone();
    truth.model =
        body.get("model").and_then(Value::as_str).map(str::to_owned).or_else(|| model_in_path(&path));
    truth.model_served = truth.model.as_ref().map(|model| format!("{model}-2026-01-15"));
    truth.stream = body.get("stream") == Some(&Value::Bool(true));
    if truth.key.is_empty() || truth.key.contains("-bad-") {
        truth.model_served = None;
        truth.stream = false;
        return Answer::error(401, "invalid_api_key");
    }
    let id = truth.request_id.clone();
    let ends = |suffix: &str| path.ends_with(suffix);
    if ends("/chat/completions") {
        let wanted = body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        openai::chat(truth, counts, &id, wanted)
    } else if ends("/responses") {
        openai::responses(truth, counts, &id)
    } else if ends("/embeddings") {
        openai::embeddings(truth, counts)
    } else if ends("/messages") {
        messages(truth, counts, &id)
    } else if ends(":generateContent") || ends(":streamGenerateContent") {
        truth.stream = ends(":streamGenerateContent");
        gemini(truth, counts, &id)
    } else if ends("/converse") {
        truth.model_served = None;
        let message = json!({"role": "assistant", "content": [{"text": COMPLETION}]});
        let usage = counts.converse(truth);
        Answer::json(&json!({"output": {"message": message}, "stopReason": "end_turn", "usage": usage}))
    } else if ends("/invoke") {
        truth.model_served = None;
        let headers = counts.invoke_headers(truth);
        Answer { headers, ..Answer::json(&json!({"completion": COMPLETION})) }
    } else {
        truth.model_served = None;
        truth.stream = false;
        Answer::error(404, "not_found_error")
    }
}

/// `/v1beta/models/M:generateContent` and `/model/M/converse`.
fn model_in_path(path: &str) -> Option<String> {
    let raw = match path.split_once("/model/") {
        Some((_, rest)) => rest.split('/').next()?,
        None => path.split_once("/models/")?.1.split(':').next()?,
    };
    Some(raw.replace("%3A", ":").replace("%2F", "/"))
}

fn messages(truth: &mut Truth, counts: &Counts, id: &str) -> Answer {
    let usage = counts.messages(truth);
    let message = |content: Value, reason: Value, usage: &Value| {
        json!({
            "id": id, "type": "message", "role": "assistant", "model": truth.model_served, "content": content,
            "stop_reason": reason, "stop_sequence": null, "usage": usage,
        })
    };
    if !truth.stream {
        return Answer::json(&message(
            json!([{"type": "text", "text": COMPLETION}]),
            json!("end_turn"),
            &usage,
        ));
    }
    // The count so far at the start; the one at the end replaces it.
    let mut first = usage.clone();
    first["output_tokens"] = json!(1);
    let delta = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let block = json!({"type": "text", "text": ""});
    let end = json!({"stop_reason": "end_turn", "stop_sequence": null});
    Answer::events(&[
        (
            "message_start",
            json!({"type": "message_start", "message": message(json!([]), Value::Null, &first)}),
        ),
        ("content_block_start", json!({"type": "content_block_start", "index": 0, "content_block": block})),
        ("ping", json!({"type": "ping"})),
        ("content_block_delta", delta(COMPLETION)),
        ("content_block_delta", delta(" \u{2713}")),
        ("content_block_stop", json!({"type": "content_block_stop", "index": 0})),
        ("message_delta", json!({"type": "message_delta", "delta": end, "usage": usage})),
        ("message_stop", json!({"type": "message_stop"})),
    ])
}

fn gemini(truth: &mut Truth, counts: &Counts, id: &str) -> Answer {
    let visible = counts.output - counts.reasoning;
    let mut part = |text: &str, tokens: u64| {
        let content = json!({"role": "model", "parts": [{"text": text}]});
        let usage = counts.gemini(truth, tokens);
        json!({
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": usage, "modelVersion": truth.model_served, "responseId": id,
        })
    };
    let (first, last) = (part(COMPLETION, visible / 2), part(" \u{2713}", visible));
    if truth.stream { Answer::events(&[("", first), ("", last)]) } else { Answer::json(&last) }
}
