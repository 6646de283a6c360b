//! One call of a model with reqwest: `KEY MODEL MODE`. Modes are `plain` and `stream`, and the same with `h1-` before
//! them; without it reqwest chooses, which is HTTP/2.

use reqwest::{Certificate, ClientBuilder};

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn call(mut client: ClientBuilder, key: &str, model: &str, mode: &str) -> Result<(), Failure> {
    for one in Certificate::from_pem_bundle(&std::fs::read(std::env::var("SSL_CERT_FILE")?)?)? {
        client = client.add_root_certificate(one);
    }
    if mode.starts_with("h1-") {
        client = client.http1_only();
    }
    let options = match mode.ends_with("stream") {
        true => r#","stream":true,"stream_options":{"include_usage":true}"#,
        false => "",
    };
    let body = format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"PROMPT-CANARY-51c9"}}]{options}}}"#
    );
    let request = client.build()?.post("https://api.openai.com/v1/chat/completions");
    let request = request.bearer_auth(key).header("content-type", "application/json").body(body);
    request.send().await?.error_for_status()?.bytes().await?;
    Ok(())
}

/// Runs the client with one library.
pub fn main(client: ClientBuilder) {
    println!("{}", std::process::id());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [key, model, mode] => tokio::runtime::Runtime::new()
            .map_err(Failure::from)
            .and_then(|all| all.block_on(call(client, key, model, mode))),
        _ => Err("arguments: KEY MODEL MODE".into()),
    };
    if let Err(error) = done {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}
