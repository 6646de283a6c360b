//! The certificates of a small fleet: an authority of its own, one server, and one certificate for each sensor.
//!
//! Larger fleets bring their own authority: the collector asks only that a sensor's certificate carries its
//! name ([`Peer`]) and comes from the authority in `ca.pem`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use thiserror::Error;

use crate::{
    files,
    peer::{Peer, PeerError},
};

/// Certificate of the authority: what both sides trust.
pub const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
/// Certificate of the collector or of a sensor, by who has it.
pub const SERVER: &str = "server";
/// Name of a sensor's two files.
pub const SENSOR: &str = "sensor";
/// Private keys are for their owner alone.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// Life of the authority.
const CA_DAYS: i64 = 3650;
/// Time by which a certificate is valid earlier, for clocks that are behind.
const EARLY_HOURS: i64 = 1;

/// Why a certificate is not made.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// There is one already.
    #[error("there is an authority in {0} already; `keywitness-collector issue HOST` adds sensors to it")]
    Exists(PathBuf),
    /// There is none.
    #[error("there is no authority in {0}; `keywitness-collector init` makes one")]
    Absent(PathBuf),
    /// A name that a certificate cannot carry.
    #[error(transparent)]
    Name(#[from] PeerError),
    /// A certificate cannot be made.
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// An authority in a folder.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority in `folder`; there must be none yet.
    pub fn create(folder: &Path) -> Result<Self, AuthorityError> {
        if [CA, CA_KEY].iter().any(|name| folder.join(name).symlink_metadata().is_ok()) {
            return Err(AuthorityError::Exists(folder.to_owned()));
        }
        make_folder(folder)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "keywitness sensors and collectors");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, CA_DAYS);
        let certificate = params.self_signed(&key)?;
        write(&folder.join(CA_KEY), key.serialize_pem().as_bytes(), SECRET, false)?;
        write(&folder.join(CA), certificate.pem().as_bytes(), PUBLIC, false)?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// The authority that [`Authority::create`] made in `folder`.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        if !folder.join(CA_KEY).exists() {
            return Err(AuthorityError::Absent(folder.to_owned()));
        }
        let (key, certificate) = (read(&folder.join(CA_KEY))?, read(&folder.join(CA))?);
        let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// Makes the certificate that collectors named `names` (DNS names and addresses) show, over an old one.
    pub fn server(&self, names: &[String], days: u32) -> Result<(), AuthorityError> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let name = names.first().map_or("collector", String::as_str);
        self.issue(params, name, days, &self.folder, SERVER)
    }

    /// Makes a sensor's certificate in `folder`, over an old one, beside a copy of the authority's.
    pub fn sensor(&self, peer: &Peer, days: u32, folder: &Path) -> Result<(), AuthorityError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names = vec![SanType::URI(peer.uri().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        make_folder(folder)?;
        self.issue(params, &peer.host, days, folder, SENSOR)?;
        write(&folder.join(CA), read(&self.folder.join(CA))?.as_bytes(), PUBLIC, true)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        name: &str,
        days: u32,
        folder: &Path,
        stem: &str,
    ) -> Result<(), AuthorityError> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, days.into());
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&folder.join(format!("{stem}.key")), key.serialize_pem().as_bytes(), SECRET, true)?;
        write(&folder.join(format!("{stem}.pem")), certificate.pem().as_bytes(), PUBLIC, true)
    }
}

fn valid(params: &mut CertificateParams, days: i64) {
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::hours(EARLY_HOURS);
    params.not_after = now + time::Duration::days(days);
}

fn make_folder(path: &Path) -> Result<(), AuthorityError> {
    files::make_folder(path).map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), AuthorityError> {
    files::write(path, bytes, mode, replace)
        .map_err(|source| AuthorityError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    #[test]
    fn a_sensors_certificate_names_it_and_an_authority_is_not_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (pki, out) = (folder.path().join("pki"), folder.path().join("out"));
        Authority::create(&pki).unwrap().server(&["localhost".into(), "127.0.0.1".into()], 1).unwrap();
        assert!(matches!(Authority::create(&pki), Err(AuthorityError::Exists(_))));
        let peer = Peer::new("acme", "node-1").unwrap();
        Authority::open(&pki).unwrap().sensor(&peer, 1, &out).unwrap();
        let der = CertificateDer::from_pem_file(out.join("sensor.pem")).unwrap();
        assert_eq!(Peer::of_certificate(&der).unwrap(), peer);
        let server = CertificateDer::from_pem_file(pki.join("server.pem")).unwrap();
        assert_eq!(Peer::of_certificate(&server), Err(PeerError::NoSensor));
        assert_eq!(fs::read(out.join(CA)).unwrap(), fs::read(pki.join(CA)).unwrap());
    }
}
