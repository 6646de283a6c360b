//! `keywitness revoke-plan`: what stops working when a key is revoked now.

use std::{collections::BTreeMap, io::Write, process::ExitCode};

use attribution::detect::{CredentialReport, Detector};
use clap::Args;
use proto::v1::{Record, record::Body};

use super::{
    columns,
    look_back::{self, PolicyArgs, time},
    report::Refused,
};
use crate::{config::Config, records::RecordArgs, term::Term};

/// A session without a call for so long is not in flight any more: fifteen minutes.
const IDLE_NS: u64 = 900_000_000_000;
/// Sessions that are followed.
const MAX_SESSIONS: usize = 100_000;
const TITLES: [&str; 6] =
    ["PRINCIPAL", "CALLS", "LAST USE", "SESSIONS IN FLIGHT", "CALLS TO", "OTHER KEYS IT USES"];

/// Arguments of `revoke-plan`.
#[derive(Debug, Args)]
pub(super) struct RevokePlanArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Fingerprint, the label of an entitlement, or a unique part of a fingerprint or hint
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    policy: PolicyArgs,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: columns::Form,
}

/// The sessions of one key.
#[derive(Debug, Default)]
struct Sessions {
    /// Principal and last call, by session.
    last: BTreeMap<(String, String), u64>,
    ended: BTreeMap<String, ()>,
}

pub(super) fn run(args: &RevokePlanArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let policy = args.policy.read(args.records.state_dir(), config)?;
    let mut detector = Detector::new(policy.clone().into());
    let mut sessions: BTreeMap<String, Sessions> = BTreeMap::new();
    let mut ended = BTreeMap::new();
    look_back::each(&args.records, config, |record| {
        detector.record(record);
        follow(record, &mut sessions, &mut ended);
    })?;
    let seen = detector.consumption();
    let wanted = |key: &&CredentialReport| {
        let label = policy.entitlement(&key.fingerprint).is_some_and(|one| one.label == args.key);
        label || key.fingerprint.contains(&args.key) || (!key.hint.is_empty() && key.hint.contains(&args.key))
    };
    let keys: Vec<&CredentialReport> = seen.credentials.iter().filter(wanted).collect();
    let key = match keys.as_slice() {
        [] => {
            let text = format!("no record shows a use of `{}`", args.key);
            return Err(Refused::new(text, "`keywitness review` lists every key that was seen").into());
        }
        [key] => *key,
        more => {
            let text = format!("`{}` fits {} keys", args.key, more.len());
            return Err(Refused::new(text, "give more of the fingerprint").into());
        }
    };
    let own = sessions.remove(&key.fingerprint).unwrap_or_default();
    let rows = rows(key, &Sessions { ended, ..own }, seen.until);
    let mut out = std::io::stdout().lock();
    if args.output == columns::Form::Table {
        let flying = rows.iter().filter(|row| row[3] != "-").count();
        writeln!(
            out,
            "Revoking {} now breaks {} principals, {flying} of them with sessions in flight.\n",
            key.fingerprint,
            rows.len()
        )?;
    }
    columns::print(&mut out, term, args.output, &TITLES, &rows)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Notes which session called when, by key, and which sessions have ended.
fn follow(record: &Record, keys: &mut BTreeMap<String, Sessions>, ended: &mut BTreeMap<String, ()>) {
    match &record.body {
        Some(Body::ModelCall(call)) => {
            let session = if call.session.is_empty() { &call.session_id } else { &call.session };
            let workload = call.workload.as_ref().map(|workload| workload.id.as_str()).unwrap_or_default();
            let (Some(credential), false) = (&call.credential, session.is_empty()) else { return };
            let known = keys.entry(credential.fingerprint.clone()).or_default();
            if known.last.len() < MAX_SESSIONS {
                let last = known.last.entry((workload.to_owned(), session.clone())).or_default();
                *last = (*last).max(record.time);
            }
        }
        Some(Body::Session(session)) if session.state == "ended" && ended.len() < MAX_SESSIONS => {
            ended.insert(session.id.clone(), ());
        }
        _ => {}
    }
}

fn rows(key: &CredentialReport, sessions: &Sessions, now: u64) -> Vec<Vec<String>> {
    let known = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    key.users
        .iter()
        .map(|user| {
            let flying = |((workload, session), last): &(&(String, String), &u64)| {
                let own =
                    *workload == user.principal || workload.starts_with(&format!("{}/", user.principal));
                own && !sessions.ended.contains_key(session) && **last + IDLE_NS >= now
            };
            let flying: Vec<&str> =
                sessions.last.iter().filter(flying).map(|((_, session), _)| session.as_str()).collect();
            let hosts: std::collections::BTreeSet<String> =
                user.destinations.iter().map(|[provider, _, model]| format!("{provider}/{model}")).collect();
            vec![
                user.name.clone(),
                user.usage.calls.to_string(),
                time(user.last),
                known(flying.join(", ")),
                known(hosts.into_iter().collect::<Vec<_>>().join(", ")),
                known(user.alternatives.join(", ")),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use attribution::detect::{Usage, UserReport};

    use super::*;

    #[test]
    fn sessions_that_ended_or_are_idle_are_not_in_flight() {
        let minute = 60_000_000_000;
        let mut sessions = Sessions::default();
        for (session, last) in [("old", 1), ("ended", 100), ("flying", 99)] {
            sessions.last.insert(("systemd://h/a.service".into(), session.into()), last * minute);
        }
        sessions.last.insert(("systemd://h/b.service".into(), "other".into()), 100 * minute);
        sessions.ended.insert("ended".into(), ());
        let key = CredentialReport {
            fingerprint: "kw1-x-1".into(),
            provider: "openai".into(),
            hint: String::new(),
            first: 1,
            last: 2,
            users: vec![UserReport {
                principal: "systemd://h/a.service".into(),
                name: "systemd://h/a.service".into(),
                first: 1,
                last: 100 * minute,
                usage: Usage { calls: 3, ..Usage::default() },
                destinations: vec![["openai".into(), "h".into(), "m".into()]],
                alternatives: vec!["kw1-x-2".into()],
            }],
        };
        let rows = rows(&key, &sessions, 100 * minute);
        assert_eq!(
            rows[0],
            ["systemd://h/a.service", "3", "1970-01-01 01:40", "flying", "openai/m", "kw1-x-2"]
        );
    }
}
