//! What the server really received and answered.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Mutex,
};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

/// One request as the server saw it. Absent: the request did not have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Truth {
    /// Client address.
    pub source_address: String,
    /// Client port.
    pub source_port: u16,
    /// Value of the `host` header.
    pub host: String,
    /// Server name in the ClientHello; absent in cleartext.
    pub sni: Option<String>,
    /// Version of HTTP, such as `HTTP/2.0`.
    pub http: String,
    /// Path without the query.
    pub path: String,
    /// The test key as presented (for SigV4 the access key id); empty when there was none.
    pub key: String,
    /// Model the request asked for.
    pub model: Option<String>,
    /// Model the response names.
    pub model_served: Option<String>,
    /// Server-sent events were answered.
    pub stream: bool,
    /// All input tokens, cached ones included; absent when the response reports no usage.
    pub input_tokens: Option<u64>,
    /// All output tokens, reasoning included.
    pub output_tokens: Option<u64>,
    /// Part of the input.
    pub cache_read: Option<u64>,
    /// Part of the input.
    pub cache_write: Option<u64>,
    /// Part of the output.
    pub reasoning: Option<u64>,
    /// Request id in the response headers.
    pub request_id: String,
    /// HTTP status answered.
    pub status: u16,
    /// Content coding of the response body; empty for none.
    pub encoding: String,
    /// The client's `user-agent`.
    pub user_agent: String,
    /// When the request head arrived, nanoseconds since the Unix epoch.
    pub received_ns: u64,
}

/// Appends one line per request.
pub(super) struct Log(Mutex<File>);

impl Log {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(Mutex::new(file.with_context(|| format!("cannot write {}", path.display()))?)))
    }

    /// Writes the line with one system call, so a reader never sees half of it for long.
    pub(super) fn add(&self, truth: &Truth) -> Result<()> {
        let mut line = serde_json::to_vec(truth)?;
        line.push(b'\n');
        let mut file = self.0.lock().map_err(|_| anyhow!("the truth log failed before"))?;
        Ok(file.write_all(&line)?)
    }
}

/// All requests in the log at `path`, oldest first.
pub fn read_log(path: &Path) -> Result<Vec<Truth>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
