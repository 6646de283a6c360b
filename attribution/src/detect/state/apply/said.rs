//! What records say, and hashes of it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use proto::v1::{self, Credential, Endpoint, ModelCall, Process, Workload};

/// Files of people: their homes on Linux and macOS.
const HOMES: [&str; 2] = ["/home/", "/Users/"];

/// What some rule objects to in one use of a credential.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Objections {
    pub(super) in_url: bool,
    pub(super) cleartext: bool,
    /// Sent to another provider than its own.
    pub(super) wrong: bool,
    /// From a person's file.
    pub(super) home: bool,
}

impl Objections {
    /// Those to one use, at `provider`.
    pub(super) fn to(credential: &Credential, provider: &str, cleartext: bool) -> Self {
        let carrier = credential.carrier.as_str();
        let path = credential.origin.as_ref().map(|origin| origin.path.as_str()).unwrap_or_default();
        Self {
            in_url: carrier.starts_with("query:") || carrier.starts_with("path:"),
            cleartext,
            wrong: !credential.provider.is_empty() && credential.provider != provider,
            home: HOMES.iter().any(|home| path.starts_with(home)),
        }
    }
}

/// What holds for every instance of a workload.
pub(super) type Lasting<'a> = (
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a BTreeMap<String, String>,
);

/// What holds for every instance of a workload.
pub(super) fn lasting(workload: &Workload) -> Lasting<'_> {
    let Workload { id, kind, namespace, name, service_account, unit, spiffe_id, labels, .. } = workload;
    (id, kind, namespace, name, service_account, unit, spiffe_id, labels)
}

/// What a record says of who acts, as far as anything is made of it.
pub(super) fn actor(process: &Process, workload: Option<&Workload>) -> impl Hash {
    let Process { pid, start_time, exe, uid, cgroup, cgroup_id, unknown_reason, .. } = process;
    let ancestors = Ancestors(&process.ancestors);
    ((pid, start_time, exe, uid, cgroup, cgroup_id, unknown_reason, ancestors), workload.map(lasting))
}

/// What a record says of a credential itself.
pub(super) fn facts(credential: Option<&Credential>) -> impl Hash {
    credential.map(|one| (&one.fingerprint, &one.provider, &one.kind, &one.lifetime, &one.hint))
}

/// Ancestors, to be hashed.
struct Ancestors<'a>(&'a [v1::Ancestor]);

impl Hash for Ancestors<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.0.len());
        for one in self.0 {
            (one.pid, one.start_time, &one.exe).hash(state);
        }
    }
}

/// The names that findings can be about.
pub(super) fn dest<'a>(endpoint: Option<&'a Endpoint>, model: &'a str) -> [&'a str; 3] {
    let named = |endpoint: &'a Endpoint| [endpoint.provider.as_str(), endpoint.host.as_str(), model];
    endpoint.map_or(["", "", model], named)
}

/// Whether a call went over the network without encryption.
pub(super) fn cleartext(call: &ModelCall) -> bool {
    let Some(endpoint) = call.endpoint.as_ref().filter(|_| call.binding == "cleartext") else { return false };
    let own = call.source.as_ref().is_some_and(|source| source.address == endpoint.address);
    let address = endpoint.address.parse::<std::net::IpAddr>();
    !own && address.is_ok_and(|address| !address.is_loopback())
}
