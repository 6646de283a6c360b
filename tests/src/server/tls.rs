//! The server's certificate authority and TLS settings.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{CA_FILE, CERTIFICATE_FILE, HOSTS};

/// Makes an authority and a P-256 certificate for [`HOSTS`] and writes both to `dir`, the
/// certificate with its key for other servers of a test.
pub(super) fn config(dir: &Path) -> Result<Arc<ServerConfig>> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "keywitness test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let write = |name: &str, pem: String| {
        let file = dir.join(name);
        std::fs::write(&file, pem).with_context(|| format!("cannot write {}", file.display()))
    };
    write(CA_FILE, authority.self_signed(&authority_key)?.pem())?;

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(HOSTS.map(str::to_owned).to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, HOSTS[0]);
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?;
    write(CERTIFICATE_FILE, certificate.pem() + &key.serialize_pem())?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    Ok(Arc::new(config))
}
