//! Calls of a model with hyper and rustls: `KEY MODEL MODE` for one, `many ROUNDS` for one connection for
//! each key on standard input, `timed KEY COUNT` for streamed calls one after the other, of which it prints nanoseconds.
//! Modes are `plain` and `stream`, and the same with `h2-` before them.

use std::{net::ToSocketAddrs as _, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "api.openai.com";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A connection to the endpoint.
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(mut config: ClientConfig, http2: bool) -> Result<Self, Failure> {
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let address = (HOST, 443).to_socket_addrs()?.next().ok_or("no address")?;
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(HOST)?;
        let io = TokioIo::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?);
        Ok(if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Self::Http1(sender)
        })
    }

    /// One call, its answer read to the end.
    async fn call(&mut self, key: &str, model: &str, stream: bool, filling: usize) -> Result<(), Failure> {
        let options = if stream { r#","stream":true,"stream_options":{"include_usage":true}"# } else { "" };
        let prompt = format!("PROMPT-CANARY-51c9 {}", "x".repeat(filling));
        let body =
            format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{prompt}"}}]{options}}}"#);
        let path = "/v1/chat/completions";
        let request = match self {
            Self::Http1(_) => Request::post(path).header("host", HOST),
            Self::Http2(_) => Request::post(format!("https://{HOST}{path}")),
        };
        let request = request
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(Full::from(body))?;
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        if answer.status() != StatusCode::OK {
            return Err(format!("answered {}", answer.status()).into());
        }
        answer.into_body().collect().await?;
        Ok(())
    }
}

fn config(provider: CryptoProvider) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(std::env::var("SSL_CERT_FILE")?)? {
        roots.add(one?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    Ok(config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

/// All keys at once, each with a connection of its own; the model's name tells each request from all others.
async fn many(config: ClientConfig, rounds: usize) -> Result<(), Failure> {
    let mut tasks = Vec::new();
    for (index, key) in std::io::stdin().lines().enumerate() {
        let (key, config) = (key?, config.clone());
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(config, false).await?;
            for turn in 0..rounds {
                let model = format!("many-{turn}-{index}");
                connection.call(&key, &model, index % 2 == 0, index * 37 % 3000).await?;
            }
            Ok::<(), Failure>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Calls one after the other on one connection, and what each took.
async fn timed(config: ClientConfig, key: &str, count: usize) -> Result<(), Failure> {
    let mut connection = Connection::open(config, false).await?;
    let mut taken = Vec::new();
    for _ in 0..count {
        let start = std::time::Instant::now();
        connection.call(key, "gpt-5-mini", true, 1000).await?;
        taken.push(start.elapsed().as_nanos());
    }
    for one in taken {
        println!("{one}");
    }
    Ok(())
}

async fn run(provider: CryptoProvider) -> Result<(), Failure> {
    let config = config(provider)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["many", rounds] => many(config, rounds.parse()?).await,
        ["timed", key, count] => timed(config, key, count.parse()?).await,
        [key, model, mode] => {
            let mut connection = Connection::open(config, mode.starts_with("h2-")).await?;
            connection.call(key, model, mode.ends_with("stream"), 0).await
        }
        _ => Err("arguments: KEY MODEL MODE, or: many ROUNDS, or: timed KEY COUNT".into()),
    }
}

/// Runs the client with one library.
pub fn main(provider: CryptoProvider) {
    let done = tokio::runtime::Runtime::new().map_err(Failure::from).and_then(|all| all.block_on(run(provider)));
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
