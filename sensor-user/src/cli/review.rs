//! `keywitness review`: who owns which credential, who used it, and what should change.

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use attribution::{
    detect::{CredentialReport, Usage},
    policy::{Entitlement, Policy, any},
};
use clap::Args;

use super::{
    columns,
    look_back::{self, PolicyArgs, dollars, time},
};
use crate::{config::Config, records::RecordArgs, term::Term};

/// Days before an end from which on it is told.
const SOON_NS: u64 = 30 * 86_400_000_000_000;
const TITLES: [&str; 9] =
    ["KEY", "OWNER", "STEWARD", "USED BY", "CALLS", "TOKENS", "COST", "LAST USED", "REMARKS"];

/// Arguments of `review`.
#[derive(Debug, Args)]
pub(super) struct ReviewArgs {
    #[command(flatten)]
    records: RecordArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: columns::Form,
}

pub(super) fn run(args: &ReviewArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let policy = args.policy.read(args.records.state_dir(), config)?;
    let seen = look_back::detector(&args.records, config, policy.clone())?.consumption();
    let mut out = std::io::stdout().lock();
    columns::print(&mut out, term, args.output, &TITLES, &rows(&policy, &seen.credentials, seen.until))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A row for each entitlement, then one for each credential without.
fn rows(policy: &Policy, seen: &[CredentialReport], now: u64) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for one in &policy.entitlements {
        let keys: Vec<&CredentialReport> =
            seen.iter().filter(|key| one.fingerprints.contains(&key.fingerprint)).collect();
        rows.push(row(&one.label, &one.owner, &one.steward, &keys, remarks(one, &keys, now)));
    }
    for key in seen.iter().filter(|key| policy.entitlement(&key.fingerprint).is_none()) {
        let shown = if key.hint.is_empty() { &key.fingerprint } else { &key.hint };
        rows.push(row(shown, "", "", &[key], vec!["not registered".into()]));
    }
    rows
}

fn row(
    name: &str,
    owner: &str,
    steward: &str,
    keys: &[&CredentialReport],
    remarks: Vec<String>,
) -> Vec<String> {
    let known = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let users = keys.iter().flat_map(|key| &key.users);
    let names: BTreeSet<&str> = users.clone().map(|user| user.principal.as_str()).collect();
    let used = users.fold(Usage::default(), |sum, user| Usage {
        calls: sum.calls + user.usage.calls,
        tokens: sum.tokens + user.usage.tokens,
        nanos: sum.nanos + user.usage.nanos,
    });
    let names: Vec<&str> = names.into_iter().collect();
    vec![
        name.to_owned(),
        known(owner),
        known(steward),
        known(&names.join("; ")),
        used.calls.to_string(),
        used.tokens.to_string(),
        dollars(used.nanos),
        time(keys.iter().map(|key| key.last).max().unwrap_or(0)),
        known(&remarks.join("; ")),
    ]
}

fn remarks(one: &Entitlement, keys: &[&CredentialReport], now: u64) -> Vec<String> {
    let mut out = Vec::new();
    if keys.is_empty() {
        out.push("unused".to_owned());
    }
    if one.owner.is_empty() {
        out.push("no owner".to_owned());
    }
    let users: BTreeSet<&str> =
        keys.iter().flat_map(|key| &key.users).map(|user| user.principal.as_str()).collect();
    if users.len() > 1 {
        out.push(format!("shared by {}", users.len()));
    }
    let outside = users.iter().filter(|user| !one.workloads.is_empty() && !any(&one.workloads, user)).count();
    if outside > 0 {
        out.push(format!("used by {outside} out of scope"));
    }
    let dests = || keys.iter().flat_map(|key| &key.users).flat_map(|user| &user.destinations);
    let never: Vec<&str> = (one.workloads.iter().filter(|glob| !users.iter().any(|user| glob.matches(user))))
        .chain(one.providers.iter().filter(|glob| !dests().any(|dest| glob.matches(&dest[0]))))
        .chain(one.models.iter().filter(|glob| !dests().any(|dest| glob.matches(&dest[2]))))
        .map(|glob| glob.as_str())
        .collect();
    if !keys.is_empty() && !never.is_empty() {
        out.push(format!("over-scoped: never used for {}", never.join(", ")));
    }
    for (end, what) in [(one.expires, "expires"), (one.renew_by, "renew by"), (one.review_by, "review by")] {
        match end {
            Some(end) if end <= now => out.push(format!("{what} {}: past", day(end))),
            Some(end) if end <= now.saturating_add(SOON_NS) => out.push(format!("{what} {}", day(end))),
            _ => {}
        }
    }
    out
}

fn day(nanoseconds: u64) -> String {
    time(nanoseconds).get(..10).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use attribution::detect::UserReport;

    use super::*;

    #[test]
    fn each_entitlement_is_held_against_what_was_used() {
        let policy = "
            [[entitlement]]
            label = 'bot'
            fingerprint = 'kw1-x-1'
            owner = 'finance'
            workloads = ['systemd://*/bot.service', 'k8s://c/never/**']
            models = ['gpt-5*', 'gpt-4*']
            expires = 2026-03-20
            [[entitlement]]
            label = 'idle'
            fingerprint = 'kw1-x-2'";
        let policy = Policy::parse(policy, &mut |_| Err(String::new())).unwrap();
        let user = |principal: &str| UserReport {
            principal: principal.into(),
            name: principal.into(),
            first: 1,
            last: 2,
            usage: Usage { calls: 2, tokens: 30, nanos: 1_250_000_000 },
            destinations: vec![["openai".into(), "api.openai.com".into(), "gpt-5-mini".into()]],
            alternatives: Vec::new(),
        };
        let now = 20_522 * 86_400_000_000_000;
        let key = |fingerprint: &str, users| CredentialReport {
            fingerprint: fingerprint.into(),
            provider: "openai".into(),
            hint: String::new(),
            first: 1,
            last: now,
            users,
        };
        let seen = [
            key("kw1-x-1", vec![user("systemd://h/bot.service"), user("systemd://h/b.service")]),
            key("kw1-x-3", vec![user("systemd://h/c.service")]),
        ];
        let rows = rows(&policy, &seen, now);
        assert_eq!(rows[0][4..8], ["4", "60", "$2.50", "2026-03-10 00:00"]);
        assert_eq!(
            rows[0][8],
            "shared by 2; used by 1 out of scope; over-scoped: never used for k8s://c/never/**, gpt-4*; \
             expires 2026-03-20"
        );
        assert_eq!((rows[1][0].as_str(), rows[1][8].as_str()), ("idle", "unused; no owner"));
        assert_eq!((rows[2][0].as_str(), rows[2][8].as_str()), ("kw1-x-3", "not registered"));
    }
}
