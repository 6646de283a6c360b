//! Section `[collector]`.

use std::path::PathBuf;

use serde::Deserialize;

use super::values::BadValue;

/// Where certificates are unless the file says otherwise: the folder that `keywitness-collector issue` makes.
const FOLDER: &str = "/etc/keywitness/collector";
/// Collectors to choose from.
const MAX_ENDPOINTS: usize = 16;

/// Section `[collector]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collector {
    /// Collectors; none: nothing is sent.
    pub endpoints: Endpoints,
    /// Certificate of the collectors' authority.
    pub ca: PathBuf,
    /// This sensor's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Addresses of collectors, `https://NAME:PORT`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Endpoints(Vec<String>);

impl Default for Collector {
    fn default() -> Self {
        let file = |name: &str| PathBuf::from(FOLDER).join(name);
        Self {
            endpoints: Endpoints::default(),
            ca: file("ca.pem"),
            cert: file("sensor.pem"),
            key: file("sensor.key"),
        }
    }
}

impl Endpoints {
    /// The addresses.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Endpoints {
    type Error = BadValue;

    fn try_from(addresses: Vec<String>) -> Result<Self, BadValue> {
        if addresses.len() > MAX_ENDPOINTS {
            return Err(BadValue::new("at most 16 collectors"));
        }
        for address in &addresses {
            let rest = address.strip_prefix("https://").filter(|rest| !rest.is_empty());
            if rest.is_none_or(|rest| rest.contains(['/', '@', '?', '#', ' '])) {
                return Err(BadValue::new("must be like https://collector.example:7443"));
            }
        }
        Ok(Self(addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_https_and_nothing_more() {
        let parse = |address: &str| Endpoints::try_from(vec![address.to_owned()]);
        for good in ["https://a:7443", "https://[::1]:7443", "https://collector.example"] {
            assert_eq!(parse(good).unwrap().as_slice(), [good]);
        }
        for bad in ["http://a:7443", "a:7443", "https://", "https://a/b", "https://u@a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
