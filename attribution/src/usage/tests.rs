use std::sync::{Arc, LazyLock};

use proto::v1::Tokens;

use super::*;
use crate::decode::eventstream::tests::encode;
use crate::endpoint::Catalogue;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fn plan(provider: &str) -> Arc<Plan> {
    CATALOGUE.provider(provider).map_or_else(|| CATALOGUE.any_usage(), |provider| provider.usage())
}

/// Input, output, cache read, cache write, reasoning.
type Counts = [Option<u64>; 5];

fn tokens(counts: Counts, quality: &str) -> Tokens {
    let [input, output, cache_read, cache_write, reasoning] = counts;
    Tokens { input, output, cache_read, cache_write, reasoning, quality: quality.to_owned() }
}

fn run(provider: &str, kind: &str, headers: &[(&str, &str)], chunks: &[&[u8]], cut: bool) -> Usage {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let mut meter = Meter::new(plan(provider), Some(kind), header);
    for chunk in chunks {
        if meter.takes_events() {
            meter.sse_event("", chunk);
        } else {
            meter.push(chunk);
        }
    }
    meter.finish(cut)
}

fn json(provider: &str, body: &str) -> Usage {
    let whole = run(provider, "application/json; charset=utf-8", &[], &[body.as_bytes()], false);
    for at in 0..=body.len() {
        let (left, right) = body.as_bytes().split_at(at);
        assert_eq!(run(provider, "application/json", &[], &[left, right], false), whole, "split at {at}");
    }
    for at in 0..body.trim_end().len() {
        let part = run(provider, "application/json", &[], &[&body.as_bytes()[..at]], true);
        assert_eq!(part.tokens.quality, "truncated", "prefix {at}");
        for (seen, all) in
            [(part.tokens.input, whole.tokens.input), (part.tokens.output, whole.tokens.output)]
        {
            assert!(seen.is_none() || seen <= all, "prefix {at}");
        }
    }
    whole
}

fn events(provider: &str, data: &[&str], cut: bool) -> Usage {
    let chunks: Vec<&[u8]> = data.iter().map(|text| text.as_bytes()).collect();
    run(provider, "text/event-stream", &[], &chunks, cut)
}

const CHAT: &str = r#"{"id":"chatcmpl-9","object":"chat.completion","created":1,"model":"gpt-5.1-2026-01-01","choices":[{"index":0,
 "message":{"role":"assistant","content":"\"usage\": {\"prompt_tokens\": 999}"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1200,
 "completion_tokens":300,"total_tokens":1500,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},
 "completion_tokens_details":{"reasoning_tokens":192}},"service_tier":"default"}"#;

#[test]
fn openai_chat_counts_are_exact() {
    let usage = json("openai", CHAT);
    assert_eq!(usage.tokens, tokens([Some(1200), Some(300), Some(1024), None, Some(192)], "exact"));
    assert_eq!(usage.model_served.as_deref(), Some("gpt-5.1-2026-01-01"));
    assert_eq!(usage.response_id.as_deref(), Some("chatcmpl-9"));
    assert_eq!(json("unknown gateway", CHAT), usage);
}

#[test]
fn an_openai_chat_stream_is_counted_only_when_it_reports() {
    let text = r#"{"id":"c1","model":"gpt-5","choices":[{"delta":{"content":"hi"},"finish_reason":null}],"usage":null}"#;
    let end = r#"{"id":"c1","model":"gpt-5","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
    let with = events("openai", &[text, text, end, "[DONE]"], false);
    assert_eq!(with.tokens, tokens([Some(9), Some(3), None, None, None], "exact"));
    assert_eq!(with.model_served.as_deref(), Some("gpt-5"));
    let without = events("openai", &[text, text, "[DONE]"], false);
    assert_eq!(without.tokens, tokens([None; 5], "unreported"));
    assert_eq!(without.model_served.as_deref(), Some("gpt-5"));
    assert_eq!(events("openai", &[text], true).tokens, tokens([None; 5], "truncated"));
    assert_eq!(events("openai", &[text, end], true).tokens.quality, "exact");
}

#[test]
fn running_totals_of_a_compatible_server_are_truncated_when_cut() {
    let part = |output: u32| {
        format!(
            r#"{{"choices":[{{"delta":{{}}}}],"usage":{{"prompt_tokens":9,"completion_tokens":{output}}}}}"#
        )
    };
    let cut = events("vllm", &[&part(1), &part(2)], true);
    assert_eq!(cut.tokens, tokens([Some(9), Some(2), None, None, None], "truncated"));
    assert_eq!(events("vllm", &[&part(1), &part(2)], false).tokens.quality, "exact");
}

#[test]
fn openai_responses_are_counted_as_json_and_stream() {
    let body = r#"{"id":"resp_1","object":"response","model":"gpt-5","output":[],"usage":{"input_tokens":40,"input_tokens_details":
        {"cached_tokens":8,"cache_write_tokens":2},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":16},"total_tokens":60}}"#;
    let expected = tokens([Some(40), Some(20), Some(8), Some(2), Some(16)], "exact");
    assert_eq!(json("openai", body).tokens, expected);
    let created = r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt-5","usage":null}}"#;
    let delta = r#"{"type":"response.output_text.delta","delta":"hi"}"#;
    let end = format!(r#"{{"type":"response.completed","response":{body}}}"#);
    let usage = events("openai", &[created, delta, &end], false);
    assert_eq!(usage.tokens, expected);
    assert_eq!(usage.response_id.as_deref(), Some("resp_1"));
    assert_eq!(events("openai", &[created, delta], true).tokens.quality, "truncated");
}

#[test]
fn embeddings_have_input_only() {
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"model":"text-embedding-3-small",
        "usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    assert_eq!(json("openai", body).tokens, tokens([Some(8), None, None, None, None], "exact"));
}

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":"x"}],
 "stop_reason":"end_turn","usage":{"input_tokens":10,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":7,
 "server_tool_use":{"web_search_requests":0},"service_tier":"standard"}}"#;

#[test]
fn anthropic_input_includes_the_cache() {
    let expected = tokens([Some(1110), Some(7), Some(1000), Some(100), None], "exact");
    for provider in ["anthropic", "azure", "bedrock", "github_copilot", "minimax", "unknown gateway"] {
        let usage = json(provider, MESSAGE);
        assert_eq!(usage.tokens, expected, "{provider}");
        assert_eq!(usage.model_served.as_deref(), Some("claude-sonnet-4-5"));
    }
}

#[test]
fn an_anthropic_delta_replaces_the_start() {
    let start = r#"{"type":"message_start","message":{"id":"msg_2","type":"message","model":"claude-haiku","content":[],
        "usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":50,"output_tokens":1}}}"#;
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
    let delta = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let stop = r#"{"type":"message_stop"}"#;
    for provider in ["anthropic", "azure", "unknown gateway"] {
        let usage = events(provider, &[start, text, delta, stop], false);
        assert_eq!(
            usage.tokens,
            tokens([Some(75), Some(15), Some(50), Some(0), None], "exact"),
            "{provider}"
        );
        assert_eq!(usage.response_id.as_deref(), Some("msg_2"));
        let cut = events(provider, &[start, text], true);
        assert_eq!(
            cut.tokens,
            tokens([Some(75), Some(1), Some(50), Some(0), None], "truncated"),
            "{provider}"
        );
    }
    assert_eq!(events("anthropic", &[start, text, delta], true).tokens.quality, "exact");
}

#[test]
fn gemini_output_includes_thoughts_and_the_last_chunk_wins() {
    let chunk = |finish: &str, output: u32| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}}{finish}}}],"usageMetadata":{{"promptTokenCount":20,
            "candidatesTokenCount":{output},"thoughtsTokenCount":5,"toolUsePromptTokenCount":3,"cachedContentTokenCount":4,"totalTokenCount":99}},
            "modelVersion":"gemini-2.5-flash","responseId":"r1"}}"#
        )
    };
    let (first, last) = (chunk("", 1), chunk(r#","finishReason":"STOP""#, 10));
    let expected = tokens([Some(23), Some(15), Some(4), None, Some(5)], "exact");
    assert_eq!(json("gemini", &last).tokens, expected);
    assert_eq!(json("gemini", &format!("[{first},\n{last}]")).tokens, expected);
    let usage = events("gemini", &[&first, &last], true);
    assert_eq!(usage.tokens, expected);
    assert_eq!(usage.response_id.as_deref(), Some("r1"));
    let cut = events("gemini", &[&first], true);
    assert_eq!(cut.tokens, tokens([Some(23), Some(6), Some(4), None, Some(5)], "truncated"));
    let wrapped = format!(r#"{{"response":{last},"traceId":"t"}}"#);
    assert_eq!(json("gemini_code_assist", &wrapped).tokens, expected);
}

#[test]
fn a_gemini_answer_of_thoughts_alone_has_output() {
    let body = r#"{"candidates":[{"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":2,"thoughtsTokenCount":8}}"#;
    assert_eq!(json("gemini", body).tokens, tokens([Some(2), Some(8), None, None, Some(8)], "exact"));
}

#[test]
fn bedrock_converse_input_includes_the_cache() {
    let usage = r#"{"usage":{"inputTokens":10,"outputTokens":4,"totalTokens":44,"cacheReadInputTokens":20,"cacheWriteInputTokens":10}}"#;
    let expected = tokens([Some(40), Some(4), Some(20), Some(10), None], "exact");
    assert_eq!(json("bedrock", usage).tokens, expected);
    let kind = "application/vnd.amazon.eventstream";
    let mut stream = encode(&[(":event-type", "contentBlockDelta")], br#"{"delta":{"text":"hi"}}"#);
    stream.extend(encode(&[(":event-type", "metadata")], usage.as_bytes()));
    for at in 0..=stream.len() {
        let (left, right) = stream.split_at(at);
        assert_eq!(run("bedrock", kind, &[], &[left, right], false).tokens, expected, "split at {at}");
    }
    for at in 0..stream.len() {
        let part = run("bedrock", kind, &[], &[&stream[..at]], true);
        assert_eq!(part.tokens, tokens([None; 5], "truncated"), "prefix {at}");
    }
}

#[test]
fn bedrock_invoke_headers_count_when_the_body_does_not() {
    let headers = [
        ("x-amzn-bedrock-input-token-count", "12"),
        ("x-amzn-bedrock-output-token-count", "5"),
        ("x-amzn-bedrock-cache-read-input-token-count", "100"),
    ];
    let usage = run("bedrock", "application/json", &headers, &[br#"{"completion":"x"}"#], false);
    assert_eq!(usage.tokens, tokens([Some(112), Some(5), Some(100), None, None], "header"));
    let both = run("bedrock", "application/json", &headers, &[MESSAGE.as_bytes()], false);
    assert_eq!(both.tokens.quality, "exact");
    assert_eq!(both.tokens.input, Some(1110));
}

#[test]
fn a_bedrock_invoke_stream_is_decoded_from_its_inner_documents() {
    let chunk = |inner: &str| {
        let body = format!(r#"{{"bytes":"{}","p":"abc"}}"#, data_encoding::BASE64.encode(inner.as_bytes()));
        encode(&[(":event-type", "chunk"), (":message-type", "event")], body.as_bytes())
    };
    let mut stream = chunk(r#"{"type":"content_block_delta","delta":{"text":"x"}}"#);
    stream.extend(chunk(
        r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":9,"outputTokenCount":6,"cacheReadInputTokenCount":1}}"#,
    ));
    let usage = run("bedrock", "application/vnd.amazon.eventstream", &[], &[&stream], false);
    assert_eq!(usage.tokens, tokens([Some(10), Some(6), Some(1), None, None], "exact"));
}

#[test]
fn families_with_their_own_rules_follow_them() {
    let chat = |extra: &str| {
        format!(
            r#"{{"usage":{{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{{"reasoning_tokens":7}}{extra}}}}}"#
        )
    };
    let xai = json("xai", &chat(r#","cost_in_usd_ticks":12345"#));
    assert_eq!(xai.tokens, tokens([Some(10), Some(12), None, None, Some(7)], "exact"));
    assert_eq!(xai.provider_cost, Some(1235));
    let router = json("openrouter", &chat(r#","cost":0.00014"#));
    assert_eq!(router.tokens.output, Some(5));
    assert_eq!(router.provider_cost, Some(140_000));
    let pplx = json(
        "perplexity",
        r#"{"usage":{"prompt_tokens":1,"completion_tokens":2,"reasoning_tokens":3,"citation_tokens":4}}"#,
    );
    assert_eq!(pplx.tokens.output, Some(9));
    let deep = json(
        "deepseek",
        r#"{"usage":{"prompt_tokens":6,"completion_tokens":2,"prompt_cache_hit_tokens":4}}"#,
    );
    assert_eq!(deep.tokens, tokens([Some(6), Some(2), Some(4), None, None], "exact"));
    let groq = events(
        "groq",
        &[r#"{"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":4}}}"#, "[DONE]"],
        false,
    );
    assert_eq!(groq.tokens, tokens([Some(3), Some(4), None, None, None], "exact"));
    let cohere = events(
        "cohere",
        &[
            r#"{"type":"message-end","delta":{"usage":{"billed_units":{"input_tokens":5.0,"output_tokens":2}}}}"#,
        ],
        false,
    );
    assert_eq!(cohere.tokens, tokens([Some(5), Some(2), None, None, None], "exact"));
    let rerank = json("cohere", r#"{"id":"a","meta":{"billed_units":{"input_tokens":31}}}"#);
    assert_eq!(rerank.tokens.input, Some(31));
    let voyage = json("voyage", r#"{"model":"voyage-3","usage":{"total_tokens":10}}"#);
    assert_eq!(voyage.tokens.input, Some(10));
    let cloudflare =
        json("cloudflare_workers_ai", r#"{"result":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#);
    assert_eq!(cloudflare.tokens.output, Some(2));
    let watsonx =
        json("watsonx", r#"{"model_id":"m","results":[{"generated_token_count":4,"input_token_count":3}]}"#);
    assert_eq!(watsonx.tokens, tokens([Some(3), Some(4), None, None, None], "exact"));
    let interactions = json(
        "gemini",
        r#"{"usage":{"total_input_tokens":5,"total_output_tokens":6,"total_tool_use_tokens":1}}"#,
    );
    assert_eq!(interactions.tokens, tokens([Some(6), Some(6), None, None, None], "exact"));
}

#[test]
fn ollama_lines_count_at_the_done_line() {
    let body = b"{\"model\":\"llama3\",\"message\":{\"content\":\"a\"},\"done\":false}\n\
        {\"model\":\"llama3\",\"done\":true,\"prompt_eval_count\":26,\"eval_count\":9}\n";
    let expected = tokens([Some(26), Some(9), None, None, None], "exact");
    for kind in ["application/x-ndjson", "application/json"] {
        for at in 0..=body.len() {
            let (left, right) = body.split_at(at);
            assert_eq!(run("ollama", kind, &[], &[left, right], false).tokens, expected, "{kind} {at}");
        }
    }
    let first = body.iter().position(|byte| *byte == b'\n').unwrap();
    let cut = run("ollama", "application/x-ndjson", &[], &[&body[..=first]], true);
    assert_eq!(cut.tokens, tokens([None; 5], "truncated"));
    let broken = [b"garbage {\"eval_count\":1}\n".as_slice(), body].concat();
    let usage = run("ollama", "application/x-ndjson", &[], &[&broken], false);
    assert_eq!((usage.tokens, usage.skipped), (expected, 1));
}

#[test]
fn the_litellm_header_is_money() {
    let headers = [("x-litellm-response-cost", "3.9e-05")];
    let usage = run("litellm_proxy", "application/json", &headers, &[CHAT.as_bytes()], false);
    assert_eq!(usage.provider_cost, Some(39_000));
}

#[test]
fn unbelievable_counts_are_ignored() {
    let body = r#"{"usage":{"prompt_tokens":-4,"completion_tokens":99999999999999999999}}"#;
    assert_eq!(json("openai", body).tokens, tokens([None; 5], "unreported"));
}

#[test]
fn bodies_that_are_not_json_are_unreported() {
    let usage =
        run("openai", "audio/mpeg", &[], &[b"\xff\xfb\x90", b"{\"usage\":{\"prompt_tokens\":1}}"], false);
    assert_eq!(usage.tokens, tokens([None; 5], "unreported"));
}

#[test]
fn every_family_of_the_catalogue_compiles_alone() {
    let document = CATALOGUE.document();
    assert!(document.family.len() >= 28);
    for id in document.family.keys() {
        let text = format!("[[provider]]\nid = \"x\"\nhosts = [\"x.example\"]\nfamilies = [\"{id}\"]\n");
        assert!(Catalogue::with_additions(&text).is_ok(), "{id}");
    }
}

#[test]
fn the_service_tier_and_long_cache_writes_are_told() {
    let chat = |tier: &str| {
        json(
            "openai",
            &format!(r#"{{"model":"m","usage":{{"prompt_tokens":1,"completion_tokens":1}}{tier}}}"#),
        )
    };
    assert_eq!(chat(r#","service_tier":"priority""#).service_tier.as_deref(), Some("priority"));
    assert_eq!(chat(r#","service_tier":"default""#).service_tier.as_deref(), Some("default"));
    assert_eq!(chat("").service_tier, None);
    let responses = r#"{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":1},"service_tier":"flex"}}"#;
    assert_eq!(events("openai", &[responses], false).service_tier.as_deref(), Some("flex"));
    // What changes the price counts before what does not; the end of a stream does not repeat it.
    let start = r#"{"type":"message_start","message":{"type":"message","usage":{"input_tokens":5,"output_tokens":1,
        "cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},
        "service_tier":"standard","speed":"fast"}}}"#;
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
    let usage = events("anthropic", &[start, end], false);
    assert_eq!((usage.service_tier.as_deref(), usage.cache_write_1h), (Some("fast"), 20));
    assert_eq!((usage.tokens.input, usage.tokens.cache_write), (Some(35), Some(30)));
}
