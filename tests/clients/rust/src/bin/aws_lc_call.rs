//! The client with AWS-LC.

fn main() {
    rustls_clients::main(rustls::crypto::aws_lc_rs::default_provider());
}
