//! Who a sensor is: what its certificate says, and nothing else.
//!
//! The name is a SPIFFE ID, `spiffe://<trust domain>/tenant/<tenant>/sensor/<host>`, in the certificate's
//! subject alternative names (SPIFFE X.509-SVID 2, RFC 5280 4.2.1.6). A certificate names one sensor.

use std::fmt;

use thiserror::Error;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// Trust domain of certificates that `keywitness-collector init` makes.
pub const TRUST_DOMAIN: &str = "keywitness";
/// Longest tenant or host name, bytes: that of a DNS name (RFC 1035 2.3.4).
const MAX_NAME: usize = 255;

/// A sensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Whose sensor it is; nothing of one tenant is ever shown to another.
    pub tenant: String,
    /// The host that it watches, as in its records.
    pub host: String,
}

/// Why a certificate names no sensor.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PeerError {
    /// Not a certificate.
    #[error("the certificate cannot be read")]
    Malformed,
    /// No name of the right form, or several.
    #[error("the certificate does not name one sensor (spiffe://{TRUST_DOMAIN}/tenant/NAME/sensor/HOST)")]
    NoSensor,
    /// A name that cannot be used.
    #[error("`{0}` cannot name a tenant or host: use letters, digits, `.`, `-` and `_`, at most {MAX_NAME}")]
    BadName(String),
}

impl Peer {
    /// A sensor by name.
    pub fn new(tenant: &str, host: &str) -> Result<Self, PeerError> {
        for name in [tenant, host] {
            if !is_name(name) {
                return Err(PeerError::BadName(name.to_owned()));
            }
        }
        Ok(Self { tenant: tenant.to_owned(), host: host.to_owned() })
    }

    /// The sensor that a DER certificate was issued to.
    pub fn of_certificate(der: &[u8]) -> Result<Self, PeerError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Malformed)?;
        let names = certificate.subject_alternative_name().map_err(|_| PeerError::Malformed)?;
        let mut uris =
            names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        match (uris.next(), uris.next()) {
            (Some(uri), None) => Self::of_uri(uri),
            _ => Err(PeerError::NoSensor),
        }
    }

    fn of_uri(uri: &str) -> Result<Self, PeerError> {
        let rest = uri.strip_prefix("spiffe://").and_then(|rest| rest.strip_prefix(TRUST_DOMAIN));
        let names = rest.and_then(|rest| rest.strip_prefix("/tenant/")?.split_once("/sensor/"));
        let (tenant, host) = names.ok_or(PeerError::NoSensor)?;
        Self::new(tenant, host)
    }

    /// The name in its certificate.
    pub fn uri(&self) -> String {
        format!("spiffe://{TRUST_DOMAIN}/tenant/{}/sensor/{}", self.tenant, self.host)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.host)
    }
}

/// Safe as a file name and in a URI.
fn is_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_uri_and_bad_ones_are_refused() {
        let peer = Peer::new("acme", "node-1.example").unwrap();
        assert_eq!(Peer::of_uri(&peer.uri()), Ok(peer));
        for name in ["", "..", "a/b", "a b", "ä", &"x".repeat(MAX_NAME + 1)] {
            assert!(matches!(Peer::new("acme", name), Err(PeerError::BadName(_))), "{name}");
        }
    }

    #[test]
    fn other_uris_name_no_sensor() {
        for uri in [
            "spiffe://keywitness/tenant/acme",
            "spiffe://keywitness/tenant/acme/sensor/",
            "spiffe://keywitness/tenant/acme/sensor/a/sensor/b",
            "spiffe://elsewhere/tenant/acme/sensor/a",
            "https://keywitness/tenant/acme/sensor/a",
            "",
        ] {
            assert!(Peer::of_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        assert_eq!(Peer::of_certificate(b"no"), Err(PeerError::Malformed));
    }
}
