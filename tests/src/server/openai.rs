//! Answers in the shape of OpenAI and those that follow it.

use serde_json::{Value, json};

use super::{
    answer::{Answer, COMPLETION},
    truth::Truth,
    usage::Counts,
};

pub(super) fn chat(truth: &mut Truth, counts: &Counts, id: &str, usage_wanted: bool) -> Answer {
    let model = truth.model_served.clone();
    if !truth.stream {
        let message = json!({"role": "assistant", "content": COMPLETION, "refusal": null});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop", "logprobs": null});
        let usage = counts.chat(truth);
        return Answer::json(&json!({
            "id": id, "object": "chat.completion", "created": 1_790_000_000, "model": model,
            "choices": [choice], "usage": usage,
        }));
    }
    let chunk = |choices: Value| {
        let kind = "chat.completion.chunk";
        json!({"id": id, "object": kind, "created": 1_790_000_000, "model": model, "choices": choices})
    };
    let delta = |delta: Value, end: Value| chunk(json!([{"index": 0, "delta": delta, "finish_reason": end}]));
    let mut events = vec![
        ("", delta(json!({"role": "assistant", "content": ""}), Value::Null)),
        ("", delta(json!({"content": COMPLETION}), Value::Null)),
        ("", delta(json!({"content": " \u{2713}"}), Value::Null)),
        ("", delta(json!({}), json!("stop"))),
    ];
    if usage_wanted {
        let mut last = chunk(json!([]));
        last["usage"] = counts.chat(truth);
        events.push(("", last));
    }
    let mut answer = Answer::events(&events);
    answer.pieces.push("data: [DONE]\n\n".to_owned());
    answer
}

pub(super) fn responses(truth: &mut Truth, counts: &Counts, id: &str) -> Answer {
    let usage = counts.responses(truth);
    let response = |status: &str, output: Value, usage: Value| {
        json!({
            "id": id, "object": "response", "created_at": 1_790_000_000, "status": status, "model": truth.model_served,
            "output": output, "usage": usage, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        })
    };
    let content = json!([{"type": "output_text", "text": COMPLETION, "annotations": []}]);
    let item = json!([{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}]);
    let done = response("completed", item, usage);
    if !truth.stream {
        return Answer::json(&done);
    }
    let created = response("in_progress", json!([]), Value::Null);
    let empty = json!({"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []});
    let delta = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": COMPLETION, "logprobs": []});
    let events = [
        ("response.created", json!({"response": created})),
        ("response.output_item.added", json!({"output_index": 0, "item": empty})),
        ("response.output_text.delta", delta),
        ("response.output_item.done", json!({"output_index": 0, "item": done["output"][0]})),
        ("response.completed", json!({"response": done})),
    ];
    let numbered = |(number, (kind, mut event)): (usize, (&'static str, Value))| {
        (event["type"], event["sequence_number"]) = (json!(kind), json!(number));
        (kind, event)
    };
    Answer::events(&events.into_iter().enumerate().map(numbered).collect::<Vec<_>>())
}

pub(super) fn embeddings(truth: &mut Truth, counts: &Counts) -> Answer {
    let usage = counts.embeddings(truth);
    let data = json!([{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]);
    Answer::json(&json!({"object": "list", "data": data, "model": truth.model_served, "usage": usage}))
}
