//! reqwest with native-tls, which is OpenSSL.

fn main() {
    reqwest_clients::main(reqwest::Client::builder().tls_backend_native());
}
