//! `serve`.

use std::{path::Path, time::Duration};

use super::{ServeArgs, certificates};
use crate::serve::{self, Options};

/// Policy in the folder of state.
const POLICY: &str = "policy.toml";
const GIB: u64 = 1024 * 1024 * 1024;
const DAY_S: u64 = 86_400;

/// Runs the collector; makes its certificates where there are none and none were named.
pub(super) fn run(dir: &Path, args: ServeArgs) -> anyhow::Result<()> {
    let pki = args.pki.clone().unwrap_or_else(|| dir.join(certificates::PKI));
    if args.pki.is_none() && !pki.exists() {
        certificates::init_alone(dir)?;
    }
    let policy = dir.join(POLICY);
    let policy = args.policy.or_else(|| policy.exists().then_some(policy));
    let name = match args.collector_name {
        Some(name) => name,
        None => certificates::host()?,
    };
    serve::run(Options {
        folder: dir.to_owned(),
        pki,
        listen: args.listen,
        query: args.query,
        metrics: args.metrics,
        name,
        silent_after: Duration::from_secs(args.silent_after),
        retain_bytes: args.retain_gib * GIB,
        retain: Duration::from_secs(args.retain_days * DAY_S),
        policy,
    })
}
