//! Which clients call in which tier of hooks.

use super::tier::Tier;
use crate::client::{self, Client, Runtime};

/// Modes of curl in the short run: both forms of answer, two providers, two versions of HTTP.
const SMOKE: [&str; 4] = ["chat", "chat-stream", "messages-stream", "h2-chat"];
/// Hooks on plaintext: what is left without them are flows.
const PLAINTEXT: [&str; 6] =
    ["kw_tls_enter", "kw_tls_return", "kw_go_enter", "kw_go_return", "kw_aead_enter", "kw_aead_return"];
/// Hooks that tell more than who calls whom.
const EXTRA: [&str; 3] = ["kw_destroy", "kw_ingress", "credential_file"];

/// Every tier, the best first.
pub(super) fn tiers(smoke: bool) -> Vec<Tier> {
    let chat = || vec![openai(Runtime::Curl, "curl_call.sh", "chat")];
    let mut all = vec![
        Tier { name: "every hook", disabled: Vec::new(), clients: clients(smoke) },
        Tier { name: "without uprobes", disabled: PLAINTEXT.to_vec(), clients: chat() },
    ];
    if !smoke {
        all.push(Tier { name: "without optional hooks", disabled: EXTRA.to_vec(), clients: chat() });
    }
    all
}

fn clients(smoke: bool) -> Vec<Client> {
    let wanted = |client: &Client| match client.runtime {
        Runtime::Curl => !smoke || SMOKE.contains(&client.mode),
        Runtime::Node => !smoke,
        _ => false,
    };
    let mut list: Vec<Client> = client::all().into_iter().filter(wanted).collect();
    list.push(openai(Runtime::Wget, "wget_call.sh", "plain"));
    list.push(openai(Runtime::Go, "go_call", "plain"));
    list
}

const fn openai(runtime: Runtime, script: &'static str, mode: &'static str) -> Client {
    Client { runtime, script, mode, provider: "openai" }
}
