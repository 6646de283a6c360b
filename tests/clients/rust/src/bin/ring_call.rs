//! The client with ring.

fn main() {
    rustls_clients::main(rustls::crypto::ring::default_provider());
}
