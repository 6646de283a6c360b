//! reqwest with rustls and ring.

fn main() {
    // There is none before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest_clients::main(reqwest::Client::builder().tls_backend_rustls());
}
