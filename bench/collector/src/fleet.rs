//! Certificates of the simulated fleet, made once by the collector's own authority.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use collector::{authority::Authority, peer::Peer};

/// Days that the certificates are valid.
const DAYS: u32 = 3650;

/// An authority and certificates of sensors.
pub(crate) struct Fleet(PathBuf);

impl Fleet {
    /// The fleet in `folder`, with at least `sensors` certificates.
    pub(crate) fn open(folder: &Path, sensors: usize) -> Result<Self> {
        let fleet = Self(folder.to_owned());
        // Written last.
        let made = folder.join(format!("{sensors}.made"));
        if made.exists() {
            return Ok(fleet);
        }
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let authority = Authority::create(&fleet.pki())?;
        authority.server(&["localhost".into(), "127.0.0.1".into()], DAYS)?;
        for number in 0..sensors {
            authority.sensor(&Peer::new("bench", &host(number))?, DAYS, &fleet.sensor(number))?;
        }
        fs::write(&made, "").with_context(|| format!("cannot write {}", made.display()))?;
        Ok(fleet)
    }

    /// Folder of the authority and of the collector's certificate.
    pub(crate) fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// Folder of a sensor's certificate.
    pub(crate) fn sensor(&self, number: usize) -> PathBuf {
        self.0.join("sensors").join(host(number))
    }
}

/// Name of a sensor's host.
pub(crate) fn host(number: usize) -> String {
    format!("node-{number:05}.bench")
}
