//! Records of a collector, asked over HTTPS.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use attribution::filter::{Filter, MAX_LAST};
use bytes::{Bytes, BytesMut};
use clap::Args;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, Uri, body::Incoming, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use proto::v1::Record;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::timeout;

/// Where records are asked for.
const PATH: &str = "/v1/records";
/// Time for an answer to begin, and for each part of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Parts that wait to be read.
const WAITING: usize = 16;
/// Longest line, bytes: that of a flow log.
const MAX_LINE: usize = 32 * 1024 * 1024;
/// Most of an error's text that is read, bytes.
const MAX_ERROR: usize = 4096;

/// Which collector, and by what right.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Server {
    /// Ask this collector instead of the log of this host, such as https://collector.example:7444
    #[arg(long, value_name = "URL", requires = "token_file", conflicts_with = "input_file")]
    pub(super) server: Option<String>,
    /// File with a token that `keywitness-collector token add` printed
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// Certificate of the collector's authority, PEM [default: what this host trusts]
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
}

/// Parts of the answer, as they come.
type Part = anyhow::Result<Bytes>;

impl Server {
    /// The records that `filter` lets through, oldest first; the newest `last` of them if that is given.
    pub(super) fn ask(
        &self,
        url: &str,
        filter: &Filter,
        last: Option<usize>,
    ) -> anyhow::Result<super::Records> {
        let request = self.request(url, filter, last)?;
        let connector = match &self.ca {
            Some(path) => HttpsConnectorBuilder::new().with_tls_config(trusting(path)?),
            None => HttpsConnectorBuilder::new().with_native_roots()?,
        };
        let connector = connector.https_only().enable_http1().build();
        let (parts, answer) = sync_channel(WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("server".into()).spawn(move || {
            if let Err(error) = runtime.block_on(fetch(connector, request, &parts)) {
                // Nobody reads any more when this fails.
                let _ = parts.send(Err(error));
            }
        })?;
        let url = url.to_owned();
        let lines = Lines { answer, held: BytesMut::new(), ended: false };
        Ok(Box::new(lines.map(move |line| {
            let line = line.with_context(|| format!("cannot ask {url}"))?;
            Record::from_json(&line).with_context(|| format!("{url} sent a line that is no record"))
        })))
    }

    fn request(
        &self,
        url: &str,
        filter: &Filter,
        last: Option<usize>,
    ) -> anyhow::Result<Request<Empty<Bytes>>> {
        let path = self.token_file.as_deref().unwrap_or(Path::new(""));
        let token = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let last = last.filter(|last| (1..=MAX_LAST).contains(last));
        let last = last.map(|last| ("last".to_owned(), last.to_string()));
        let pairs = filter.query().into_iter().chain(last);
        let query: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
        let url = url.trim_end_matches('/');
        let uri: Uri = format!("{url}{PATH}?{}", query.join("&"))
            .parse()
            .with_context(|| format!("`{url}` is no address such as https://collector.example:7444"))?;
        Request::get(&uri)
            .header(header::HOST, uri.authority().map(|host| host.as_str()).unwrap_or_default())
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::USER_AGENT, concat!("keywitness/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .with_context(|| format!("{} holds no token", path.display()))
    }
}

async fn fetch(
    connector: HttpsConnector<HttpConnector>,
    request: Request<Empty<Bytes>>,
    parts: &SyncSender<Part>,
) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let answer = timeout(PATIENCE, client.request(request)).await.context("no answer")??;
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        bail!("{status}: {}", told(answer.into_body()).await);
    }
    let mut body = answer.into_body();
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.context("the answer stopped half-way")? {
        if let Ok(part) = frame.context("the answer was cut off")?.into_data()
            && parts.send(Ok(part)).is_err()
        {
            break;
        }
    }
    Ok(())
}

/// What a collector says of an error.
async fn told(body: Incoming) -> String {
    let text = http_body_util::Limited::new(body, MAX_ERROR).collect().await;
    let text = text.map(|text| text.to_bytes()).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let told = json.get("error").and_then(|error| error.as_str()).unwrap_or("no reason given");
    crate::term::escape(told, MAX_ERROR).into_owned()
}

fn trusting(path: &Path) -> anyhow::Result<ClientConfig> {
    let unfit = || format!("cannot use {} as the certificate of an authority", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).with_context(unfit)? {
        roots.add(certificate.with_context(unfit)?).with_context(unfit)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Percent-encoding of a value in a query (RFC 3986 2.3).
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Lines out of parts.
struct Lines {
    answer: Receiver<Part>,
    held: BytesMut,
    ended: bool,
}

impl Iterator for Lines {
    type Item = anyhow::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if let Some(length) = memchr::memchr(b'\n', &self.held) {
                let line = self.held.split_to(length + 1).freeze();
                return Some(Ok(line.slice(..length)));
            }
            match self.answer.recv() {
                Ok(Ok(_)) if self.held.len() > MAX_LINE => {
                    self.ended = true;
                    return Some(Err(anyhow::anyhow!("a line is longer than {MAX_LINE} bytes")));
                }
                Ok(Ok(part)) => self.held.extend_from_slice(&part),
                Ok(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                Err(_) => self.ended = true,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use attribution::filter::{Field, Term};

    use super::*;

    #[test]
    fn a_question_carries_the_filter_and_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = Some(folder.path().join("token"));
        fs::write(folder.path().join("token"), "kwt_1\n").unwrap();
        let server = Server { token_file, ..Server::default() };
        let term = Term { field: Field::Model, value: "a b&c".into(), not: true };
        let filter = Filter { terms: vec![term], ..Filter::default() };
        let request = server.request("https://c:7444/", &filter, Some(20)).unwrap();
        assert_eq!(request.uri(), "https://c:7444/v1/records?not.model=a%20b%26c&last=20");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer kwt_1");
        let all = server.request("https://c:7444", &Filter::default(), Some(MAX_LAST + 1)).unwrap();
        assert_eq!(all.uri(), "https://c:7444/v1/records?");
    }

    #[test]
    fn lines_come_whole_however_they_are_cut_and_an_error_ends_them() {
        let (parts, answer) = sync_channel(9);
        for part in ["{1", "}\n{2}\n{", "3}\n"] {
            parts.send(Ok(Bytes::from(part))).unwrap();
        }
        parts.send(Err(anyhow::anyhow!("cut"))).unwrap();
        let lines = Lines { answer, held: BytesMut::new(), ended: false };
        let lines: Vec<_> = lines.collect();
        let texts: Vec<_> = lines.iter().flatten().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(texts, ["{1}", "{2}", "{3}"]);
        assert!(lines.len() == 4 && lines[3].is_err());
    }
}
