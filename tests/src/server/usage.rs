//! Token counts of one answer and their form in each provider's response.

use serde_json::{Value, json};

use super::truth::Truth;

/// Token counts; `input` holds both cache counts, `output` holds `reasoning`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) reasoning: u64,
}

impl Counts {
    /// Counts that no other request of this server has.
    pub(super) fn of_request(number: u64) -> Self {
        Self {
            input: 2000 + 11 * number,
            output: 300 + 7 * number,
            cache_read: 100 + number,
            cache_write: 50 + number,
            reasoning: 10 + number,
        }
    }

    /// Input tokens that neither came from nor went to a cache.
    pub(super) fn uncached(&self) -> u64 {
        self.input - self.cache_read - self.cache_write
    }

    pub(super) fn chat(&self, truth: &mut Truth) -> Value {
        truth.input_tokens = Some(self.input);
        truth.output_tokens = Some(self.output);
        truth.cache_read = Some(self.cache_read);
        truth.reasoning = Some(self.reasoning);
        json!({
            "prompt_tokens": self.input, "completion_tokens": self.output, "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cache_read},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        })
    }

    pub(super) fn responses(&self, truth: &mut Truth) -> Value {
        self.chat(truth);
        json!({
            "input_tokens": self.input, "output_tokens": self.output, "total_tokens": self.input + self.output,
            "input_tokens_details": {"cached_tokens": self.cache_read},
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
        })
    }

    pub(super) fn embeddings(&self, truth: &mut Truth) -> Value {
        truth.input_tokens = Some(self.input);
        json!({"prompt_tokens": self.input, "total_tokens": self.input})
    }

    pub(super) fn messages(&self, truth: &mut Truth) -> Value {
        self.chat(truth);
        truth.cache_write = Some(self.cache_write);
        json!({
            "input_tokens": self.uncached(), "output_tokens": self.output,
            "cache_read_input_tokens": self.cache_read, "cache_creation_input_tokens": self.cache_write,
            "output_tokens_details": {"thinking_tokens": self.reasoning},
        })
    }

    /// `visible`: candidate tokens generated so far, thoughts not included.
    pub(super) fn gemini(&self, truth: &mut Truth, visible: u64) -> Value {
        self.chat(truth);
        json!({
            "promptTokenCount": self.input, "candidatesTokenCount": visible,
            "cachedContentTokenCount": self.cache_read, "thoughtsTokenCount": self.reasoning,
            "totalTokenCount": self.input + self.reasoning + visible,
        })
    }

    pub(super) fn converse(&self, truth: &mut Truth) -> Value {
        self.messages(truth);
        truth.reasoning = None;
        json!({
            "inputTokens": self.uncached(), "outputTokens": self.output, "totalTokens": self.input + self.output,
            "cacheReadInputTokens": self.cache_read, "cacheWriteInputTokens": self.cache_write,
        })
    }

    /// Bedrock InvokeModel reports in headers only.
    pub(super) fn invoke_headers(&self, truth: &mut Truth) -> Vec<(&'static str, String)> {
        self.converse(truth);
        vec![
            ("x-amzn-bedrock-input-token-count", self.uncached().to_string()),
            ("x-amzn-bedrock-output-token-count", self.output.to_string()),
            ("x-amzn-bedrock-cache-read-input-token-count", self.cache_read.to_string()),
            ("x-amzn-bedrock-cache-write-input-token-count", self.cache_write.to_string()),
        ]
    }
}
