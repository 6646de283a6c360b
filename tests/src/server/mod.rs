//! A local model endpoint: TLS with its own certificate authority, answers shaped like the
//! providers', and a log of what it really received that the tests hold records against.

mod answer;
mod body;
mod encode;
mod grpc;
mod http;
mod openai;
mod process;
mod serve;
mod tls;
mod truth;
mod usage;
mod websocket;

pub use answer::COMPLETION;
pub use process::Server;
pub use serve::{Options, Ready, run};
pub use tls::Protection;
pub use truth::{Truth, read_log};

/// File with the certificate authority, inside the server's folder.
pub const CA_FILE: &str = "ca.pem";
/// File with the server's certificate and its private key.
pub const CERTIFICATE_FILE: &str = "server.pem";
/// File with the bound addresses, written when the server accepts connections.
pub const READY_FILE: &str = "ready.json";
/// File with one [`Truth`] a line.
pub const TRUTH_FILE: &str = "truth.jsonl";

/// Names the certificate covers and the sandbox points at the server.
pub const HOSTS: [&str; 11] = [
    "api.openai.com",
    "eu.api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "bedrock-runtime.us-east-1.amazonaws.com",
    "api.mistral.ai",
    "api.groq.com",
    "openrouter.ai",
    "api.deepseek.com",
    "api.x.ai",
    UNRELATED_HOST,
];

/// A name of the server that is no model provider.
pub const UNRELATED_HOST: &str = "www.example.com";
