//! What the state knows about credentials, for the verbs that look back.

use std::collections::BTreeMap;

use super::check::who_name;
use super::state::buckets::Amount;
use super::state::credential::{Cred, Use};
use super::{Detector, Subject};

/// One credential and its users.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialReport {
    /// Fingerprint.
    pub fingerprint: String,
    /// Whose key it is, by its shape.
    pub provider: String,
    /// What may be shown of it.
    pub hint: String,
    /// First use, nanoseconds since the epoch.
    pub first: u64,
    /// Last use.
    pub last: u64,
    /// Users, most calls first.
    pub users: Vec<UserReport>,
}

/// One user of one credential.
#[derive(Debug, Clone, PartialEq)]
pub struct UserReport {
    /// The principal.
    pub principal: String,
    /// What it is called.
    pub name: String,
    /// First use.
    pub first: u64,
    /// Last use.
    pub last: u64,
    /// What it used, of the days that are kept.
    pub usage: Usage,
    /// Providers, hosts and models it called.
    pub destinations: Vec<[String; 3]>,
    /// Other credentials that the same principal used, by fingerprint.
    pub alternatives: Vec<String>,
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls.
    pub calls: u64,
    /// Tokens, input and output.
    pub tokens: u64,
    /// Money, nanodollars.
    pub nanos: u64,
}

/// Everything that was consumed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Consumption {
    /// Credentials by fingerprint.
    pub credentials: Vec<CredentialReport>,
    /// Earliest record, nanoseconds since the epoch.
    pub since: u64,
    /// Latest record.
    pub until: u64,
}

impl From<Amount> for Usage {
    fn from(amount: Amount) -> Self {
        Self { calls: amount.calls, tokens: amount.tokens, nanos: amount.nanos }
    }
}

impl Detector {
    /// Who used which credential for what.
    pub fn consumption(&mut self) -> Consumption {
        self.count(&Subject::All);
        let mut keys_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (fingerprint, known) in self.state.credentials.iter() {
            for one in known.uses.values() {
                let keys = keys_of.entry(&one.place).or_default();
                if !keys.contains(&&**fingerprint) {
                    keys.push(fingerprint);
                }
            }
        }
        keys_of.values_mut().for_each(|keys| keys.sort_unstable());
        let mut credentials: Vec<CredentialReport> =
            self.state.credentials.iter().map(|(name, known)| credential(name, known, &keys_of)).collect();
        credentials.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
        Consumption { credentials, since: self.state.since.unwrap_or(0), until: self.state.now }
    }
}

fn credential(fingerprint: &str, known: &Cred, keys_of: &BTreeMap<&str, Vec<&str>>) -> CredentialReport {
    let mut users: Vec<UserReport> = known.uses.values().map(|one| user(fingerprint, one, keys_of)).collect();
    users.sort_by(|one, other| {
        other.usage.calls.cmp(&one.usage.calls).then_with(|| one.name.cmp(&other.name))
    });
    CredentialReport {
        fingerprint: fingerprint.to_owned(),
        provider: known.meta.provider.to_string(),
        hint: known.meta.hint.to_string(),
        first: known.span.first,
        last: known.span.last,
        users,
    }
}

fn user(fingerprint: &str, one: &Use, keys_of: &BTreeMap<&str, Vec<&str>>) -> UserReport {
    let mut destinations: Vec<[String; 3]> = one
        .dests
        .values()
        .map(|(dest, _)| [&dest.provider, &dest.host, &dest.model].map(|part| part.to_string()))
        .collect();
    destinations.sort();
    let others = keys_of.get(&*one.place).into_iter().flatten().filter(|key| **key != fingerprint);
    UserReport {
        principal: one.place.to_string(),
        name: who_name(&one.place, &one.sample),
        first: one.span.first,
        last: one.span.last,
        usage: Amount::sum(one.days.iter().map(|(_, amount)| amount)).into(),
        destinations,
        alternatives: others.map(|key| (*key).to_owned()).collect(),
    }
}
