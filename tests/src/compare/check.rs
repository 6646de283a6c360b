//! One record against one request.

use proto::v1::{ModelCall, Process, Tokens};

use super::{Comparison, Known, Who};
use crate::server::Truth;

/// Holds one record against the request it is about.
pub(super) fn check(
    result: &mut Comparison,
    call: &ModelCall,
    truth: &Truth,
    known: &Known<'_>,
    who: Option<Who>,
) {
    let mut differences = Vec::new();
    let mut differ = |name: &str, found: String, real: String| {
        if found != real {
            differences.push(format!("{name} is {found:?}, really {real:?}"));
        }
    };
    let endpoint = call.endpoint.clone().unwrap_or_default();
    differ("host", endpoint.host, truth.host.clone());
    differ("provider", endpoint.provider, provider(&truth.host).to_owned());
    let fingerprint = call.credential.as_ref().map(|credential| credential.fingerprint.clone());
    differ("key", format!("{fingerprint:?}"), format!("{:?}", known.fingerprints.get(&truth.key)));
    differ("model", call.model_requested.clone(), truth.model.clone().unwrap_or_default());
    differ("served model", call.model_served.clone(), truth.model_served.clone().unwrap_or_default());
    differ("status", format!("{:?}", call.status), format!("{:?}", Some(u32::from(truth.status))));
    differ("stream", format!("{}", call.stream == Some(true)), truth.stream.to_string());
    differ("request id", call.request_id.clone(), truth.request_id.clone());
    differ("user agent", call.user_agent.clone(), truth.user_agent.clone());
    differ("tokens", recorded(call.tokens.as_ref()), real(truth));
    if let Some(source) = &call.source {
        differ("source port", source.port.to_string(), truth.source_port.to_string());
    }
    let process = call.process.clone().unwrap_or_default();
    if let Some(who) = who.filter(|_| process.pid != 0) {
        differ("process", process.pid.to_string(), who.pid.to_string());
        if !process.exe.is_empty() {
            differ("executable", process.exe.clone(), who.exe.display().to_string());
        }
        if let Some(cgroup) = who.cgroup.filter(|_| !process.cgroup.is_empty()) {
            differ("cgroup", process.cgroup.clone(), cgroup);
        }
    }
    if !differences.is_empty() {
        result.wrong.push(format!("{} ({}): {}", truth.request_id, truth.user_agent, differences.join("; ")));
    } else if call.binding == "unbound" || call.source.is_none() {
        result.unbound.push(format!("{}: {}", truth.request_id, call.binding_reason));
    } else if is_unknown(&process) {
        result.unknown.push(format!("{}: {}", truth.request_id, process.unknown_reason));
    } else {
        result.right += 1;
    }
}

fn is_unknown(process: &Process) -> bool {
    process.pid == 0 || process.exe.is_empty() || process.cgroup.is_empty()
}

fn recorded(tokens: Option<&Tokens>) -> String {
    let tokens = tokens.cloned().unwrap_or_default();
    shown([tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, tokens.reasoning])
}

fn real(truth: &Truth) -> String {
    shown([truth.input_tokens, truth.output_tokens, truth.cache_read, truth.cache_write, truth.reasoning])
}

fn shown(counts: [Option<u64>; 5]) -> String {
    let names = ["in", "out", "read", "written", "reasoning"];
    let show = |(name, count): (&str, Option<u64>)| Some(format!("{name} {}", count?));
    names.into_iter().zip(counts).filter_map(show).collect::<Vec<_>>().join(", ")
}

/// The name records give the provider behind `host`; empty for no provider.
pub fn provider(host: &str) -> &'static str {
    const NAMES: [(&str, &str); 9] = [
        ("openai.com", "openai"),
        ("anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("amazonaws.com", "aws.bedrock"),
        ("mistral.ai", "mistral_ai"),
        ("groq.com", "groq"),
        ("openrouter.ai", "openrouter"),
        ("deepseek.com", "deepseek"),
        ("x.ai", "x_ai"),
    ];
    NAMES.into_iter().find(|(suffix, _)| host.ends_with(suffix)).map_or("", |(_, name)| name)
}
