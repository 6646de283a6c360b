//! reqwest with rustls and AWS-LC.

fn main() {
    // There is none before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest_clients::main(reqwest::Client::builder().tls_backend_rustls());
}
