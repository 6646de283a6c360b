//! The server's certificate authority and TLS settings.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use clap::ValueEnum as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    CipherSuite, ServerConfig, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{CA_FILE, CERTIFICATE_FILE, HOSTS};

/// How connections are protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Protection {
    /// As client and server agree: TLS 1.3 with AES-GCM for most.
    #[default]
    Any,
    /// TLS 1.2 with AES-GCM, and nothing else.
    Gcm12,
    /// TLS 1.3 with ChaCha20-Poly1305, and nothing else.
    Chacha13,
    /// TLS 1.2 with ChaCha20-Poly1305, and nothing else.
    Chacha12,
}

impl Protection {
    /// The name that the command line takes.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Any => rustls::ALL_VERSIONS.to_vec(),
            Self::Chacha13 => vec![&rustls::version::TLS13],
            Self::Gcm12 | Self::Chacha12 => vec![&rustls::version::TLS12],
        }
    }

    fn takes(self, suite: CipherSuite) -> bool {
        let is_chacha = format!("{suite:?}").contains("CHACHA20");
        match self {
            Self::Any => true,
            Self::Gcm12 => !is_chacha,
            Self::Chacha13 | Self::Chacha12 => is_chacha,
        }
    }
}

/// Makes an authority and a P-256 certificate for [`HOSTS`] and writes both to `dir`, the
/// certificate with its key for other servers of a test.
pub(super) fn config(dir: &Path, protection: Protection) -> Result<Arc<ServerConfig>> {
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

    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| protection.takes(suite.suite()));
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&protection.versions())?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    Ok(Arc::new(config))
}
