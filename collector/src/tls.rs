//! Mutual TLS of the collector, with certificates that may change while it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use thiserror::Error;

use crate::authority::{CA, SERVER};

/// Why the collector cannot speak TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file is missing or is no certificate or key.
    #[error("{path}: {reason}; make certificates with `keywitness-collector init`")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        reason: String,
    },
    /// The files do not fit together.
    #[error("the certificates in {folder} cannot be used: {reason}")]
    Unfit {
        /// The folder.
        folder: PathBuf,
        /// Cause.
        reason: String,
    },
}

/// HTTP/2 in ALPN (RFC 9113 3.2).
pub const HTTP2: &[u8] = b"h2";

/// TLS settings from a folder of certificates.
pub struct Tls {
    folder: PathBuf,
    current: RwLock<(Stamps, Configs)>,
}

/// Settings for new connections.
#[derive(Clone)]
struct Configs {
    sensors: Arc<ServerConfig>,
    readers: Arc<ServerConfig>,
}

/// When each file was written; another time means another certificate.
type Stamps = [Option<SystemTime>; 3];

impl Tls {
    /// Reads `ca.pem`, `server.pem` and `server.key` of `folder`.
    pub fn open(folder: &Path) -> Result<Self, TlsError> {
        let loaded = (stamps(folder), load(folder)?);
        Ok(Self { folder: folder.to_owned(), current: RwLock::new(loaded) })
    }

    /// For a sensor's connection: HTTP/2, with a certificate of its own.
    pub fn sensors(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.sensors.clone()
    }

    /// For a connection of somebody who asks: HTTP/1.1, with a token instead of a certificate.
    pub fn readers(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.readers.clone()
    }

    /// Reads the files again if one changed; true when new connections get other settings. A set that cannot
    /// be used leaves the old one in place, and is tried again when it changes.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = stamps(&self.folder);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 == now {
            return Ok(false);
        }
        current.0 = now;
        current.1 = load(&self.folder)?;
        Ok(true)
    }
}

fn names() -> [String; 3] {
    [CA.into(), format!("{SERVER}.pem"), format!("{SERVER}.key")]
}

fn stamps(folder: &Path) -> Stamps {
    names().map(|name| fs::metadata(folder.join(name)).and_then(|data| data.modified()).ok())
}

fn load(folder: &Path) -> Result<Configs, TlsError> {
    let [ca, certificate, key] = names().map(|name| folder.join(name));
    let unfit = |reason: String| TlsError::Unfit { folder: folder.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for root in certificates(&ca)? {
        roots.add(root).map_err(|error| unfit(error.to_string()))?;
    }
    let chain = certificates(&certificate)?;
    let private = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| TlsError::File { path: key, reason: error.to_string() })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unfit(error.to_string()))?;
    let builder = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| unfit(error.to_string()))
    };
    let mut sensors = builder(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), private.clone_key())
        .map_err(|error| unfit(error.to_string()))?;
    sensors.alpn_protocols = vec![HTTP2.to_vec()];
    let mut readers = builder(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| unfit(error.to_string()))?;
    readers.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
    Ok(Configs { sensors: Arc::new(sensors), readers: Arc::new(readers) })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let text = fs::read(path).map_err(|error: io::Error| bad(error.to_string()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    match found.is_empty() {
        true => Err(bad("no certificate in it".into())),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;

    #[test]
    fn new_files_are_taken_and_broken_ones_leave_the_old() {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        let authority = Authority::create(&pki).unwrap();
        assert!(matches!(Tls::open(&pki), Err(TlsError::File { .. })));
        authority.server(&["localhost".into()], 1).unwrap();
        let tls = Tls::open(&pki).unwrap();
        let first = tls.sensors();
        assert!(!tls.refresh().unwrap());
        authority.server(&["localhost".into()], 1).unwrap();
        assert!(tls.refresh().unwrap());
        assert!(!Arc::ptr_eq(&first, &tls.sensors()));
        let second = tls.sensors();
        fs::write(pki.join("server.pem"), "broken").unwrap();
        assert!(tls.refresh().is_err());
        assert!(Arc::ptr_eq(&second, &tls.sensors()));
    }
}
