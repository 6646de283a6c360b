//! `keywitness doctor`: what this host can do, and what is lost without what it cannot.

mod binary;
mod checks;
mod linked;
mod sources;
mod table;

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

use clap::Args;
use proto::v1;
use serde::Serialize;

use crate::{
    bpf::{
        AttachState, LoadError, Loaded, Subtree,
        hooks::{HOOKS, Hook},
        points,
    },
    config,
    term::Term,
};
use checks::Check;

/// Size of the event buffer of the trial, in bytes.
const TRIAL_RING_BYTES: u32 = 1 << 20;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Say how this executable or library would be read, instead of looking at the host
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// What the host can do as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Everything works.
    Ok,
    /// The sensor runs and sees less.
    Degraded,
    /// The sensor does not start.
    Unusable,
}

/// What became of a hook in the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It was attached, or, for TLS probes, loaded.
    Ok,
    /// It cannot be used.
    Missing,
    /// The trial ended before.
    NotTried,
}

#[derive(Debug, Serialize)]
struct HookReport {
    program: &'static str,
    family: &'static str,
    point: String,
    since: &'static str,
    required: bool,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Microseconds that loading and attaching took.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_us: Option<u128>,
    /// Instructions that the verifier went through, where the kernel tells (5.16).
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_instructions: Option<u32>,
    fallback: &'static str,
    lost: &'static str,
}

#[derive(Debug, Serialize)]
struct Report {
    state: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    checks: Vec<Check>,
    hooks: Vec<HookReport>,
    /// Kinds of attach points that no hook uses, and whether the kernel has them.
    unused_points: BTreeMap<&'static str, bool>,
    /// Sources of identity; each is optional.
    sources: Vec<v1::SourceState>,
}

impl Verdict {
    fn exit_code(self) -> ExitCode {
        match self {
            Self::Ok => ExitCode::SUCCESS,
            Self::Degraded => ExitCode::from(1),
            Self::Unusable => ExitCode::from(2),
        }
    }
}

pub(super) fn run(args: &DoctorArgs, identity: &config::Identity, term: Term) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.binary {
        return binary::run(file, args.json, term);
    }
    // All links are closed again when the trial is dropped.
    let trial = Subtree::all()
        .and_then(|all| Loaded::load(TRIAL_RING_BYTES, false, &[], &all))
        .map(|loaded| loaded.states);
    let mut report = Report::new(checks::all(&trial), trial);
    report.unused_points = points::unused().into();
    report.sources = sources::look(identity)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        table::print(&report, term, &mut out)?;
    }
    out.flush()?;
    Ok(report.state.exit_code())
}

impl Report {
    fn new(checks: Vec<Check>, trial: Result<Vec<AttachState>, LoadError>) -> Self {
        let tried = |hook: &Hook| {
            trial
                .as_ref()
                .ok()
                .and_then(|states| states.iter().find(|state| state.hook.program == hook.program))
        };
        let outcome = |hook: &Hook| match &trial {
            Ok(_) => match tried(hook).map(|state| &state.failure) {
                Some(None) => (State::Ok, None),
                Some(Some(reason)) => (State::Missing, Some(reason.clone())),
                None => (State::NotTried, None),
            },
            Err(LoadError::Hook { program, reason, .. }) if *program == hook.program => {
                (State::Missing, Some(reason.clone()))
            }
            Err(_) => (State::NotTried, None),
        };
        let hooks: Vec<HookReport> = HOOKS
            .iter()
            .map(|hook| {
                let (state, reason) = outcome(hook);
                let cost = tried(hook).and_then(|state| state.cost);
                HookReport {
                    program: hook.program,
                    family: hook.family,
                    point: table::point(hook.point),
                    since: hook.since,
                    required: hook.required,
                    state,
                    reason,
                    load_us: cost.map(|cost| cost.time.as_micros()),
                    verified_instructions: cost.and_then(|cost| cost.verified),
                    fallback: hook.fallback,
                    lost: hook.lost,
                }
            })
            .collect();
        let state = match &trial {
            Err(_) => Verdict::Unusable,
            Ok(_) if hooks.iter().all(|hook| hook.state == State::Ok) => Verdict::Ok,
            Ok(_) => Verdict::Degraded,
        };
        let error = trial.err().map(|error| error.to_string());
        Self { state, error, checks, hooks, unused_points: BTreeMap::new(), sources: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(missing: &str) -> Vec<AttachState> {
        let state = |hook: &'static Hook| {
            let failure = (hook.program == missing).then(|| "old\x1bkernel".to_owned());
            AttachState { hook, failure, cost: None }
        };
        HOOKS.iter().map(state).collect()
    }

    fn shown(report: &Report) -> String {
        let mut out = Vec::new();
        table::print(report, Term::PLAIN, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_host_with_every_hook_is_well() {
        let report = Report::new(Vec::new(), Ok(trial("")));
        assert_eq!(report.state, Verdict::Ok);
        let text = shown(&report);
        assert!(text.contains(&format!("{0} of {0} hooks", HOOKS.len())), "{text}");
        assert!(HOOKS.iter().all(|hook| text.contains(hook.program)), "{text}");
        assert!(!text.contains("lost:") && !text.contains("not seen"), "{text}");
    }

    #[test]
    fn a_missing_optional_hook_degrades_and_says_what_is_lost() {
        let report = Report::new(Vec::new(), Ok(trial("kw_ingress")));
        assert_eq!(report.state, Verdict::Degraded);
        let text = shown(&report);
        assert!(
            text.contains("names of endpoints contacted without SNI") && text.contains("old\\u{1b}kernel"),
            "{text}"
        );
        assert!(text.contains("sees less"), "{text}");
    }

    #[test]
    fn a_host_that_cannot_run_says_why() {
        let reason = "no such tracepoint".to_owned();
        let error = LoadError::Hook { program: "kw_exec", family: "process", reason };
        let report = Report::new(Vec::new(), Err(error));
        assert_eq!(report.state, Verdict::Unusable);
        let states: Vec<State> = report.hooks.iter().map(|hook| hook.state).collect();
        assert!(states.contains(&State::Missing) && states.contains(&State::NotTried));
        let text = shown(&report);
        assert!(text.contains("cannot start") && text.contains("no such tracepoint"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["state"], &json["hooks"][0]["state"]), (&"unusable".into(), &"not_tried".into()));
        assert_eq!(json["hooks"].as_array().unwrap().len(), HOOKS.len());
    }
}
