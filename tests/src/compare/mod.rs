//! Holds what the sensor recorded against what the endpoint received.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, bail};
use proto::v1::Record;

use crate::{
    sandbox::Sandbox,
    sensor::{Sensor, Stopped, calls},
    server::{Server, Truth},
};

mod check;

use check::check;
pub use check::provider;

/// Differences printed before the rest is only counted.
const SHOWN: usize = 20;

/// Who really made a call.
#[derive(Debug, Clone)]
pub struct Who {
    /// Process id.
    pub pid: u32,
    /// Executable, links resolved.
    pub exe: PathBuf,
    /// Cgroup path, where the test set one.
    pub cgroup: Option<String>,
}

/// What a comparison knows besides the records and the truth.
#[derive(Debug)]
pub struct Known<'a> {
    /// Address of the endpoint; records about other addresses belong to others.
    pub address: IpAddr,
    /// Fingerprint of each raw key.
    pub fingerprints: &'a HashMap<String, String>,
}

/// Waits until every call that `server` answered has a record, at most `patience`; then stops the sensor and
/// compares. `who` made the calls, by their keys.
pub fn settle(
    mut sensor: Sensor,
    server: &Server,
    sandbox: &Sandbox,
    who: &HashMap<String, Who>,
    patience: Duration,
) -> Result<(Stopped, Comparison)> {
    let truths = server.truth()?;
    let ids: Vec<&str> = truths.iter().map(|truth| truth.request_id.as_str()).collect();
    let complete = |records: &[_]| {
        calls(records).filter(|call| ids.contains(&call.request_id.as_str())).count() >= truths.len()
    };
    // What is missing is told by the comparison.
    if let Err(error) = sensor.wait_for("a record of every call", patience, complete) {
        eprintln!("{error:#}");
    }
    let fingerprints = sensor.fingerprints(who.keys())?;
    let stopped = sensor.stop()?;
    let known = Known { address: sandbox.address(), fingerprints: &fingerprints };
    let result = compare(&truths, &stopped.records, &known, |truth| who.get(&truth.key).cloned());
    eprintln!("{}", result.summary());
    Ok((stopped, result))
}

/// Result of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Requests the endpoint answered.
    pub requests: usize,
    /// Records that say nothing wrong and name process and flow.
    pub right: usize,
    /// One line for each wrong statement, and for each record of a call that never was.
    pub wrong: Vec<String>,
    /// Requests without a record.
    pub missing: Vec<Truth>,
    /// Records that name no flow, with their reasons.
    pub unbound: Vec<String>,
    /// Records that name no process or executable, with their reasons.
    pub unknown: Vec<String>,
}

impl Comparison {
    /// Fails on anything wrong, or if more than `share` (0 to 1) of the requests are missing,
    /// unbound or unknown.
    pub fn require(&self, share: f64) -> Result<()> {
        let uncertain = self.missing.len() + self.unbound.len() + self.unknown.len();
        #[expect(clippy::cast_precision_loss, reason = "counts of a test run are small")]
        let too_many = uncertain as f64 > share * self.requests as f64;
        if self.wrong.is_empty() && !too_many && self.requests > 0 {
            return Ok(());
        }
        let missing = self.missing.iter().map(|truth| format!("missing: {truth:?}"));
        let unbound = self.unbound.iter().map(|reason| format!("unbound: {reason}"));
        let unknown = self.unknown.iter().map(|reason| format!("unknown: {reason}"));
        let lines = self.wrong.iter().cloned().chain(missing).chain(unbound).chain(unknown);
        bail!("{}\n{}", self.summary(), lines.take(SHOWN).collect::<Vec<_>>().join("\n"))
    }

    /// The counts in one line.
    pub fn summary(&self) -> String {
        format!(
            "{} requests: {} right, {} wrong, {} missing, {} unbound, {} unknown",
            self.requests,
            self.right,
            self.wrong.len(),
            self.missing.len(),
            self.unbound.len(),
            self.unknown.len()
        )
    }
}

/// Joins the model calls in `records` to `truths` by request id, else by source port in order.
pub fn compare(
    truths: &[Truth],
    records: &[Record],
    known: &Known<'_>,
    who: impl Fn(&Truth) -> Option<Who>,
) -> Comparison {
    let mut result = Comparison { requests: truths.len(), ..Comparison::default() };
    let ours: HashSet<&String> = known.fingerprints.values().collect();
    let address = known.address.to_string();
    let mut open: Vec<Option<&Truth>> = truths.iter().map(Some).collect();
    let by_id: HashMap<&str, usize> =
        truths.iter().enumerate().map(|(index, truth)| (truth.request_id.as_str(), index)).collect();
    for call in calls(records) {
        let port = call.source.as_ref().map(|source| source.port);
        let index = by_id.get(call.request_id.as_str()).copied().or_else(|| {
            let same_port = |truth: &&Truth| Some(u32::from(truth.source_port)) == port;
            open.iter()
                .position(|slot| slot.as_ref().is_some_and(same_port))
                .filter(|_| call.request_id.is_empty())
        });
        let Some(index) = index else {
            let by_address = call.endpoint.as_ref().is_some_and(|endpoint| endpoint.address == address);
            let by_key =
                call.credential.as_ref().is_some_and(|credential| ours.contains(&credential.fingerprint));
            if by_address || by_key {
                result.wrong.push(format!("a call that never was: {call:?}"));
            }
            continue;
        };
        let Some(truth) = open[index].take() else {
            result.wrong.push(format!("recorded twice: {call:?}"));
            continue;
        };
        check(&mut result, call, truth, known, who(truth));
    }
    result.missing = open.into_iter().flatten().cloned().collect();
    result
}

#[cfg(test)]
mod tests;
