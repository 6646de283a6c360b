//! How a run ends: exit code, the error, and what to do about it.

use std::{io::Write, process::ExitCode};

use thiserror::Error;

use crate::{
    bpf::LoadError,
    config::ConfigError,
    fleet_key::FleetKeyError,
    sink,
    term::{Style, Term, escape},
};

/// The run failed.
const FAILED: u8 = 1;
/// The run was refused: usage, configuration, privileges, kernel.
const REFUSED: u8 = 2;
/// Longest error that is printed, in characters.
const MAX_CHARS: usize = 4000;

/// Something the user asked for cannot be done.
#[derive(Debug, Error)]
#[error("{message}")]
pub(super) struct Refused {
    message: String,
    help: &'static str,
}

impl Refused {
    pub(super) fn new(message: impl Into<String>, help: &'static str) -> Self {
        Self { message: message.into(), help }
    }
}

/// What is said about an error.
struct Verdict {
    code: u8,
    text: String,
    help: String,
}

/// The exit code of `result`; an error is printed first.
pub(super) fn exit_code(result: anyhow::Result<ExitCode>, term: Term) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let Some(Verdict { code, text, help }) = judge(&error) else { return ExitCode::SUCCESS };
    let (error, hint) = (term.paint(Style::Alarm, "error:"), term.paint(Style::Name, "help:"));
    let (text, help) = (escape(&text, MAX_CHARS), escape(&help, MAX_CHARS));
    // Standard error may be closed; the code still tells.
    let _ = writeln!(std::io::stderr(), "{error} {text}\n{hint} {help}");
    ExitCode::from(code)
}

/// Nothing when the reader of the output went away, which ends a run well.
fn judge(error: &anyhow::Error) -> Option<Verdict> {
    let cause = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref().is_some_and(sink::is_closed);
    if error.chain().any(cause) {
        return None;
    }
    let text = text_of(error);
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return Some(Verdict { code: REFUSED, text, help: refused.help.to_owned() });
    }
    if let Some(config) = error.downcast_ref::<ConfigError>() {
        let help = match config {
            ConfigError::Unreadable { .. } => "name a readable file with --config",
            _ => "correct it, and see `keywitness config show-default` for every setting",
        };
        return Some(Verdict { code: REFUSED, text, help: help.to_owned() });
    }
    // These say what to do after the last semicolon; what they do not is what `doctor` is for.
    if !error.is::<LoadError>() && !error.is::<FleetKeyError>() {
        let help = "run it again with -v for more; `keywitness doctor` shows what this host can do";
        return Some(Verdict { code: FAILED, text, help: help.to_owned() });
    }
    Some(match text.rsplit_once("; ") {
        Some((text, help)) => Verdict { code: REFUSED, text: text.to_owned(), help: help.to_owned() },
        None => Verdict {
            code: REFUSED,
            text,
            help: "`keywitness doctor` shows what this host can do".to_owned(),
        },
    })
}

/// The error and its causes, without those that it already tells.
fn text_of(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn told(error: impl Into<anyhow::Error>) -> (u8, String, String) {
        let Verdict { code, text, help } = judge(&error.into()).unwrap();
        (code, text, help)
    }

    #[test]
    fn every_error_has_a_code_and_says_what_to_do() {
        let (code, text, help) = told(LoadError::NotPermitted);
        assert_eq!((code, help.as_str()), (2, "run with sudo"));
        assert!(text.starts_with("loading BPF programs needs root"), "{text}");
        let (code, _, help) = told(LoadError::NoCgroup2);
        assert!(code == 2 && help.starts_with("mount one"), "{help}");
        let key = FleetKeyError::Damaged { path: "/x/fleet.key".into() };
        let (code, text, help) = told(key);
        assert!(
            code == 2 && text.contains("/x/fleet.key is damaged") && help.contains("restore it"),
            "{text}; {help}"
        );
        let config = crate::config::Config::parse(std::path::Path::new("c"), "x = 1").unwrap_err();
        let (code, text, help) = told(anyhow::Error::from(config).context("cannot start"));
        assert!(
            code == 2 && text.contains("cannot start: c:1:1: unknown field") && help.contains("show-default"),
            "{text}"
        );
        let absent = crate::config::Config::load(Some(std::path::Path::new("/no/such"))).unwrap_err();
        let (code, text, help) = told(absent);
        assert!(code == 2 && help.contains("--config"), "{help}");
        assert_eq!(text, "cannot read configuration /no/such: No such file or directory (os error 2)");
        let (code, text, help) = told(anyhow::anyhow!("broken"));
        assert!(code == 1 && text == "broken" && help.contains("-v"));
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let error = Err::<(), _>(closed).context("cannot write records").unwrap_err();
        assert!(judge(&error).is_none());
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(judge(&full.into()).map(|verdict| verdict.code), Some(1));
    }
}
