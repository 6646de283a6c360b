//! `keywitness fingerprint`: secrets on standard input, their fingerprints on standard output.

mod input;

use std::{
    fs::File,
    io::{IsTerminal, Read, Write},
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use attribution::credential::{Extractor, Found, MAX_SECRET_BYTES, Secret};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{StateArgs, report::Refused};
use crate::{config::Config, fleet_key};
use input::{Lines, Quiet, carrier_names, secret_of};

/// Arguments of `fingerprint`.
#[derive(Debug, Args)]
pub(super) struct FingerprintArgs {
    #[command(flatten)]
    pub(super) state: StateArgs,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The fingerprint alone
    #[default]
    Text,
    /// An object per line, with kind, lifetime, provider and hint
    Json,
}

/// The JSON form; what is not known is absent.
#[derive(Serialize)]
struct Line<'a> {
    fingerprint: &'a str,
    kind: &'a str,
    lifetime: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    provider: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    hint: &'a str,
}

pub(super) fn run(args: &FingerprintArgs, config: &Config) -> anyhow::Result<ExitCode> {
    print_stdin(&args.state.state_dir, config, args.output, &mut std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

/// Fingerprints of the secrets on standard input.
pub(super) fn of_stdin(state_dir: &Path, config: &Config) -> anyhow::Result<Vec<String>> {
    let mut out = Vec::new();
    print_stdin(state_dir, config, Form::Text, &mut out)?;
    Ok(String::from_utf8(out)?.lines().map(str::to_owned).collect())
}

fn print_stdin(state_dir: &Path, config: &Config, form: Form, out: &mut impl Write) -> anyhow::Result<()> {
    let catalogue = config.catalogue()?;
    let opened = fleet_key::open(state_dir)?;
    if opened.created {
        tracing::warn!(
            state_dir = %state_dir.display(),
            "made a new fleet key; fingerprints of other keys are different (see --state-dir)"
        );
    }
    let names = carrier_names(&catalogue);
    let extractor = Extractor::new(Arc::new(opened.key), &catalogue, config.credentials.hint);
    // A descriptor of our own: the buffer of `std::io::stdin` would keep secrets.
    let stdin = std::io::stdin();
    let file = File::from(stdin.as_fd().try_clone_to_owned().context("cannot read standard input")?);
    let typed = stdin.is_terminal();
    let _quiet = typed.then(|| Quiet::start(&stdin)).flatten();
    if typed {
        writeln!(
            std::io::stderr(),
            "reading secrets from the terminal, one per line, not shown; end with Ctrl-D"
        )?;
    }
    print_all(file, typed, &names, &extractor, form, out)
}

fn print_all(
    input: impl Read,
    typed: bool,
    names: &[String],
    extractor: &Extractor,
    form: Form,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut lines = Lines::new(input, typed);
    let mut number = 0;
    while let Some(line) = lines.next(number + 1)? {
        number += 1;
        let secret = secret_of(&line, names).filter(|text| !text.is_empty()).ok_or_else(|| {
            Refused::new(format!("line {number} has no secret"), "give one secret per line")
        })?;
        if secret.len() > MAX_SECRET_BYTES {
            let text = format!("the secret in line {number} is longer than {MAX_SECRET_BYTES} bytes");
            return Err(Refused::new(text, "no provider has such long keys; give the key alone").into());
        }
        let found = extractor.describe(&Secret::from_line(secret.to_owned()), "");
        print_one(&found, form, out)?;
        out.flush()?;
    }
    if number == 0 {
        return Err(Refused::new("there is nothing on standard input", "give one secret per line").into());
    }
    Ok(())
}

fn print_one(found: &Found, form: Form, out: &mut impl Write) -> anyhow::Result<()> {
    match form {
        Form::Text => writeln!(out, "{}", found.fingerprint)?,
        Form::Json => {
            let line = Line {
                fingerprint: found.fingerprint.as_str(),
                kind: found.kind.as_str(),
                lifetime: found.lifetime.as_str(),
                provider: &found.provider,
                hint: &found.hint,
            };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use attribution::{
        credential::{FleetKey, Hint},
        endpoint::Catalogue,
    };

    use super::*;

    /// The shape of an OpenAI project key; put together here, so that no file holds one.
    const KEY: &str =
        concat!("sk-proj-", "0123456789abcdefghijklmnopqr", "T3Blbk", "FJ", "0123456789abcdefghijklmnopqr");

    fn extractor(catalogue: &Catalogue) -> Extractor {
        Extractor::new(Arc::new(FleetKey::new(&mut [7; 32])), catalogue, Hint::Full)
    }

    fn printed(input: &[u8], form: Form) -> Result<String, String> {
        let catalogue = Catalogue::built_in().unwrap();
        let mut out = Vec::new();
        let names = carrier_names(&catalogue);
        print_all(input, false, &names, &extractor(&catalogue), form, &mut out)
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn text(input: &str) -> Result<String, String> {
        printed(input.as_bytes(), Form::Text)
    }

    #[test]
    fn a_pasted_secret_has_the_fingerprint_of_the_wire() {
        let catalogue = Catalogue::built_in().unwrap();
        let bearer = format!("Bearer {KEY}");
        let header = |name: &str| (name == "authorization").then_some(bearer.as_str());
        let wire =
            extractor(&catalogue).extract(catalogue.provider("openai"), "/v1/chat/completions", header);
        let wire = format!("{}\n", wire[0].fingerprint);
        for line in [
            KEY.to_owned(),
            format!("{KEY}\n"),
            format!("  {KEY}\r\n"),
            bearer.clone(),
            format!("bearer   {KEY}"),
            format!("Authorization: Bearer {KEY}"),
            format!("authorization:Bearer {KEY}\r\n"),
            format!("x-api-key: {KEY}"),
            format!("'Authorization: Bearer {KEY}'"),
            format!("\"{KEY}\""),
        ] {
            assert_eq!(text(&line).as_deref(), Ok(wire.as_str()), "{line:?}");
        }
        assert_ne!(text(&format!("{KEY}x")).unwrap(), wire);
        // Not a header: the colon is part of the secret.
        assert_ne!(text(&format!("user:{KEY}")).unwrap(), wire);
    }

    #[test]
    fn a_signature_is_named_by_its_access_key_id() {
        let id = text("AKIAIOSFODNN7EXAMPLE").unwrap();
        let header = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00";
        assert_eq!(text(header).unwrap(), id);
    }

    #[test]
    fn each_line_has_its_own_and_none_holds_the_secret() {
        let out = printed(format!("{KEY}\nsome other secret").as_bytes(), Form::Json).unwrap();
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["provider"], &lines[0]["kind"]), (&"openai".into(), &"api_key".into()));
        assert!(lines[0]["fingerprint"].as_str().unwrap().starts_with("kw1-"));
        assert!(lines[1].get("provider").is_none() && lines[1]["kind"] == "unknown");
        assert!(!out.contains(KEY) && !out.contains("other secret"));
    }

    #[test]
    fn lines_without_a_secret_are_refused() {
        assert_eq!(text("").unwrap_err(), "there is nothing on standard input");
        for (input, line) in
            [("\n", 1), (&format!("{KEY}\n\n{KEY}"), 2), ("Bearer \n", 1), ("x-api-key:\n", 1), ("''", 1)]
        {
            assert_eq!(text(input).unwrap_err(), format!("line {line} has no secret"), "{input:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused_unseen() {
        let long = text(&"x".repeat(10_000)).unwrap_err();
        assert_eq!(long, "the secret in line 1 is longer than 8192 bytes");
        let endless = printed(&[b'x'; 70_000], Form::Text).unwrap_err();
        assert_eq!(endless, "line 1 is longer than 65536 bytes");
        let binary = printed(b"ok\n\xff\xfe\n", Form::Text).unwrap_err();
        assert_eq!(binary, "line 2 is not UTF-8 text");
    }
}
