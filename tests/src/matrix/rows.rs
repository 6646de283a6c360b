//! Every client of the matrix, and what is expected of it.

use super::{Expected, Row};
use crate::{client::Runtime, server::Protection};

/// Debian's shared OpenSSL keeps names of inner functions for its error messages.
const OPENSSL: Expected = Expected::Read("openssl.name_anchor");
/// A program with symbols has it within.
const LOCAL: Expected = Expected::Read("openssl.local_symbol");
/// Node has its own, and exports it.
const EXPORTED: Expected = Expected::Read("openssl.exported_symbol");
const GNUTLS: Expected = Expected::Read("gnutls.exported_symbol");
const BORINGSSL: Expected = Expected::Read("boringssl.error_sites");
const AEAD: Expected = Expected::Read("aes_gcm.aead_constants");
const CHACHA: Expected = Expected::Read("chacha20_poly1305.aead_constants");
const GO: Expected = Expected::Read("go.go_table");

/// A client of a model as `Row`s are written: name, TLS library, runtime, script, modes.
const fn row(
    name: &'static str,
    stack: &'static str,
    runtime: Runtime,
    script: &'static str,
    modes: &'static [&'static str],
    version: &'static [&'static str],
    expected: Expected,
) -> Row {
    let (provider, protection) = ("openai", Protection::Any);
    Row { name, stack, runtime, script, provider, modes, protection, version, expected }
}

/// A program that is compiled from this repository.
const fn built(name: &'static str, stack: &'static str, path: &'static str, expected: Expected) -> Row {
    row(name, stack, Runtime::Built(path), "", RUST_MODES, &[], expected)
}

const PLAIN: &[&str] = &["plain", "stream"];
const RUST_MODES: &[&str] = &["h1-plain", "h1-stream", "plain", "stream"];
const HYPER_MODES: &[&str] = &["plain", "stream", "h2-plain", "h2-stream"];
const CURL: &[&str] = &["curl", "--version"];
const NODE: &[&str] = &["node", "--version"];
const GO_VERSION: &[&str] = &["go", "version"];
const PYTHON: &str = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))";

/// A coding agent; its mode is its name.
fn agent(
    name: &'static str,
    stack: &'static str,
    modes: &'static [&'static str; 1],
    provider: &'static str,
    expected: Expected,
) -> Row {
    Row { provider, ..row(name, stack, Runtime::Agent(modes[0]), "agent_call.sh", modes, &[], expected) }
}

/// Coding agents.
pub fn agents() -> [Row; 4] {
    [
        agent("Claude Code", "BoringSSL, stripped", &["claude"], "anthropic", BORINGSSL),
        agent("Codex, WebSocket", "rustls beside OpenSSL, stripped", &["codex"], "openai", AEAD),
        agent("opencode", "BoringSSL, stripped", &["opencode"], "anthropic", BORINGSSL),
        agent("Gemini CLI", "OpenSSL 3, exported", &["gemini"], "gcp.gemini", EXPORTED),
    ]
}

/// More of them, which only the whole matrix tries.
fn more_agents() -> [Row; 3] {
    [
        // Its program is Node, the calls are made by a module that it unpacks.
        agent("Copilot CLI", "OpenSSL 3 in a shared module", &["copilot"], "openai", OPENSSL),
        agent("Qwen Code", "OpenSSL 3, exported", &["qwen"], "openai", EXPORTED),
        agent("pi", "OpenSSL 3, exported", &["pi"], "anthropic", EXPORTED),
    ]
}

/// Programs that are read below their TLS library, with an endpoint that protects connections in another way than most.
fn otherwise() -> Vec<Row> {
    use Runtime::{AwsLc, AwsLcWithoutVaes, Deno, Ring};
    let ways = [
        (Protection::Gcm12, "TLS 1.2", AEAD),
        (Protection::Chacha13, "ChaCha20-Poly1305", CHACHA),
        (Protection::Chacha12, "TLS 1.2 with ChaCha20-Poly1305", CHACHA),
    ];
    let rows = ways.map(|(protection, way, expected)| {
        let one = |name, runtime, script, modes, version| Row {
            protection,
            ..row(name, way, runtime, script, modes, version, expected)
        };
        [
            one("hyper, stripped, ring", Ring, "ring_call", HYPER_MODES, &[]),
            one("hyper, stripped, aws-lc", AwsLc, "aws_lc_call", HYPER_MODES, &[]),
            one("hyper, stripped, aws-lc, no VAES", AwsLcWithoutVaes, "aws_lc_call", PLAIN, &[]),
            one("Deno fetch", Deno, "fetch_call.mjs", PLAIN, &["", "--version"]),
        ]
    });
    rows.into_iter().flatten().collect()
}

/// All rows, in the order of the table.
pub fn all() -> Vec<Row> {
    use Runtime::{
        AwsLc, AwsLcWithoutVaes, Built, Bun, Curl, Deno, Git, Go, Java, MorePython, Node, Python, Ring, Wget,
    };
    let mut rows = vec![
        row(
            "curl, HTTP/1",
            "OpenSSL 3, shared",
            Curl,
            "curl_call.sh",
            &["chat", "chat-stream"],
            CURL,
            OPENSSL,
        ),
        row(
            "curl, HTTP/2",
            "OpenSSL 3, shared",
            Curl,
            "curl_call.sh",
            &["h2-chat", "h2-chat-stream"],
            CURL,
            OPENSSL,
        ),
        row("wget", "GnuTLS, shared", Wget, "wget_call.sh", &["plain"], &["wget", "--version"], GNUTLS),
        row("git", "GnuTLS, shared", Git, "git_call.sh", &["plain"], &["/usr/bin/git", "--version"], GNUTLS),
        row("Node https", "OpenSSL 3, exported", Node, "https_call.js", PLAIN, NODE, EXPORTED),
        row("Node fetch", "OpenSSL 3, exported", Node, "fetch_call.mjs", PLAIN, NODE, EXPORTED),
        row("Node undici, HTTP/2", "OpenSSL 3, exported", Node, "http2_call.js", PLAIN, NODE, EXPORTED),
        row("Node WebSocket", "OpenSSL 3, exported", Node, "ws_call.js", &["plain"], NODE, EXPORTED),
        row("Bun fetch", "BoringSSL, stripped", Bun, "fetch_call.mjs", PLAIN, &["", "--version"], BORINGSSL),
        row(
            "Deno fetch",
            "rustls with aws-lc, stripped",
            Deno,
            "fetch_call.mjs",
            PLAIN,
            &["", "--version"],
            AEAD,
        ),
        row("Go net/http, stripped", "crypto/tls", Go, "go_call", PLAIN, GO_VERSION, GO),
        row("Go net/http", "crypto/tls", Built("go_call_symbols"), "", PLAIN, GO_VERSION, GO),
        row("Go 1.27 net/http, stripped", "crypto/tls", Built("go_call_new"), "", PLAIN, &[], GO),
        row("hyper, stripped", "rustls with ring", Ring, "ring_call", HYPER_MODES, &[], AEAD),
        row("hyper, stripped", "rustls with aws-lc", AwsLc, "aws_lc_call", HYPER_MODES, &[], AEAD),
        row(
            "hyper, stripped, no VAES",
            "rustls with aws-lc",
            AwsLcWithoutVaes,
            "aws_lc_call",
            PLAIN,
            &[],
            AEAD,
        ),
        built("reqwest", "rustls with ring", "reqwest_ring", AEAD),
        built("reqwest, stripped", "rustls with ring", "reqwest_ring_stripped", AEAD),
        built("reqwest, static with musl", "rustls with ring", "reqwest_ring_static", AEAD),
        built(
            "reqwest, static with musl, stripped",
            "rustls with ring",
            "reqwest_ring_static_stripped",
            AEAD,
        ),
        built("reqwest", "rustls with aws-lc", "reqwest_aws_lc", AEAD),
        built("reqwest, stripped", "rustls with aws-lc", "reqwest_aws_lc_stripped", AEAD),
        built("reqwest", "native-tls, OpenSSL 3 shared", "reqwest_native", OPENSSL),
        built("reqwest, stripped", "native-tls, OpenSSL 3 shared", "reqwest_native_stripped", OPENSSL),
        built("reqwest", "native-tls, OpenSSL 3 static", "reqwest_native_static", LOCAL),
        built("reqwest, stripped", "native-tls, OpenSSL 3 static", "reqwest_native_static_stripped", OPENSSL),
        row(
            "Java java.net.http",
            "JSSE",
            Java,
            "HttpsCall.java",
            &["plain"],
            &["java", "--version"],
            Expected::Flow("jsse"),
        ),
    ];
    let python: [(&str, &str, &[&str], &[&str]); 5] = [
        (
            "Python openai",
            "openai_call.py",
            &["sync", "async", "stream", "async-stream", "responses"],
            &["", "-c", PYTHON, "openai"],
        ),
        (
            "Python requests",
            "http_call.py",
            &["requests", "requests-stream"],
            &["", "-c", PYTHON, "requests"],
        ),
        (
            "Python httpx",
            "http_call.py",
            &["httpx", "httpx-async", "httpx-h2", "httpx-h2-stream"],
            &["", "-c", PYTHON, "httpx"],
        ),
        ("Python aiohttp", "http_call.py", &["aiohttp", "aiohttp-stream"], &["", "-c", PYTHON, "aiohttp"]),
        (
            "Python websockets",
            "ws_call.py",
            &["responses", "responses-deflate"],
            &["", "-c", PYTHON, "websockets"],
        ),
    ];
    let python = python.map(|(name, script, modes, version)| {
        row(name, "OpenSSL 3, shared", Python, script, modes, version, OPENSSL)
    });
    rows.splice(4..4, python);
    rows.extend(agents());
    rows.extend(more_agents());
    let module = |name, stack, modes, version, expected| {
        row(name, stack, MorePython, "module_call.py", modes, version, expected)
    };
    rows.extend([
        module(
            "Python curl_cffi",
            "BoringSSL, with symbols",
            &["curl_cffi"],
            &["", "-c", PYTHON, "curl_cffi"],
            Expected::Read("openssl.local_symbol"),
        ),
        module("Python rnet", "BoringSSL, stripped", &["rnet"], &["", "-c", PYTHON, "rnet"], BORINGSSL),
    ]);
    rows.push(Row {
        provider: "x_ai",
        ..row(
            "Python grpcio",
            "BoringSSL, stripped",
            Python,
            "grpc_call.py",
            PLAIN,
            &["", "-c", PYTHON, "grpcio"],
            BORINGSSL,
        )
    });
    rows.push(row(
        "curl, HTTP/2 without TLS",
        "none",
        Curl,
        "curl_call.sh",
        &["clear-h2", "clear-h2-stream"],
        CURL,
        Expected::Packets,
    ));
    rows.push(Row {
        provider: "x_ai",
        ..row(
            "Python grpcio without TLS",
            "none",
            Python,
            "grpc_call.py",
            &["clear-plain", "clear-stream"],
            &["", "-c", PYTHON, "grpcio"],
            Expected::Packets,
        )
    });
    rows.push(Row {
        provider: "anthropic",
        ..row(
            "Python anthropic",
            "OpenSSL 3, shared",
            Python,
            "anthropic_call.py",
            &["sync", "async", "stream", "async-stream"],
            &["", "-c", PYTHON, "anthropic"],
            OPENSSL,
        )
    });
    rows.extend(otherwise());
    rows
}
