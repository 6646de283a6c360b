//! The list of all clients.

use super::{Client, Runtime};

/// Every client and mode that answers 200 over TLS from a provider's name.
pub fn all() -> Vec<Client> {
    let modes = |runtime, script, provider, modes: &[&'static str]| {
        modes.iter().map(|mode| Client { runtime, script, mode, provider }).collect::<Vec<_>>()
    };
    use Runtime::{Curl, Node, Python};
    [
        modes(
            Python,
            "openai_call.py",
            "openai",
            &[
                "sync",
                "async",
                "stream",
                "async-stream",
                "stream-without-usage",
                "responses",
                "responses-stream",
                "embeddings",
            ],
        ),
        modes(Python, "anthropic_call.py", "anthropic", &["sync", "async", "stream", "async-stream"]),
        modes(
            Python,
            "http_call.py",
            "openai",
            &[
                "requests",
                "requests-stream",
                "httpx",
                "httpx-async",
                "httpx-h2",
                "httpx-h2-stream",
                "aiohttp",
                "aiohttp-stream",
            ],
        ),
        modes(Python, "ws_call.py", "openai", &["responses", "responses-deflate", "realtime-deflate"]),
        modes(Node, "openai_call.js", "openai", &["plain", "stream", "responses"]),
        modes(Node, "anthropic_call.js", "anthropic", &["plain", "stream"]),
        modes(
            Curl,
            "curl_call.sh",
            "openai",
            &[
                "chat",
                "chat-stream",
                "chat-chunked",
                "chat-http10",
                "chat-expect",
                "chat-twice",
                "gzip",
                "deflate",
                "br",
                "zstd",
                "gzip-unlabelled",
                "gzip-stream",
                "deflate-stream",
                "br-stream",
                "zstd-stream",
            ],
        ),
        modes(Node, "http2_call.js", "openai", &["plain", "stream"]),
        modes(
            Curl,
            "curl_call.sh",
            "openai",
            &["h2-chat", "h2-chat-stream", "h2-chat-twice", "h2-gzip-stream"],
        ),
        modes(Curl, "curl_call.sh", "anthropic", &["messages", "messages-stream", "h2-messages-stream"]),
        modes(Curl, "curl_call.sh", "gcp.gemini", &["gemini", "gemini-query", "gemini-stream"]),
        modes(Curl, "curl_call.sh", "aws.bedrock", &["converse", "invoke"]),
    ]
    .concat()
}
