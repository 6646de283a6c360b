//! `keywitness findings`: what was found, or the rules that find it.

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

use attribution::{
    detect::{RULES, Severity},
    filter::{self, Field, Filter},
};
use clap::{Args, ValueEnum};
use proto::v1::Finding;

use super::{columns, look_back};
use crate::{config::Config, records::RecordArgs, sink::falco, term::Term};

/// Arguments of `findings`.
#[derive(Debug, Args)]
pub(super) struct FindingsArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// Print the rules with their parameters instead
    #[arg(long)]
    rules: bool,
    /// Findings of these states
    #[arg(long, value_name = "STATE", value_enum, default_value_t)]
    state: States,
    /// End with exit code 1 when a finding in force is at least so severe
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    fail_on: Option<Severity>,
    /// Judge the records again by this policy, instead of printing the findings that were recorded
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Aligned columns
    #[default]
    Table,
    /// A JSON object per line
    Json,
    /// Markdown
    Markdown,
    /// Falco's JSON, a line per finding
    Falco,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum States {
    /// In force
    #[default]
    Open,
    /// Over
    Resolved,
    /// Both
    All,
}

fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| format!("expected one of {}", Severity::names()))
}

pub(super) fn run(args: &FindingsArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if args.rules {
        match args.output {
            Form::Markdown => out.write_all(rules_document().as_bytes())?,
            _ => rules(&mut out, term)?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let records = &args.records;
    let all = match &args.policy {
        Some(path) => {
            let source = look_back::source(Some(path), records.state_dir(), config);
            look_back::detector(records, config, source.read().map_err(look_back::refused)?)?.findings()
        }
        None => recorded(records, config)?,
    };
    let wanted = |one: &&Finding| match args.state {
        States::Open => one.state != "resolved",
        States::Resolved => one.state == "resolved",
        States::All => true,
    };
    let mut findings: Vec<&Finding> = all.iter().filter(wanted).collect();
    findings.sort_by_key(|one| (std::cmp::Reverse(Severity::parse(&one.severity)), one.first_seen, &one.id));
    match args.output {
        Form::Json => {
            for finding in &findings {
                writeln!(out, "{}", serde_json::to_string(finding)?)?;
            }
        }
        Form::Falco => {
            for finding in &findings {
                writeln!(out, "{}", falco::event(finding, finding.last_seen))?;
            }
        }
        Form::Table => table(&mut out, term, columns::Form::Table, &findings)?,
        Form::Markdown => table(&mut out, term, columns::Form::Markdown, &findings)?,
    }
    out.flush()?;
    let fails = |one: &&Finding| one.state != "resolved" && Severity::parse(&one.severity) >= args.fail_on;
    let failed = args.fail_on.is_some() && all.iter().any(|one| fails(&one));
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The last word on each finding.
fn recorded(records: &RecordArgs, config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut last: BTreeMap<String, Finding> = BTreeMap::new();
    let term = filter::Term { field: Field::Kind, value: "finding".into(), not: false };
    let findings = Filter { terms: vec![term], ..Filter::default() };
    look_back::each_of(records, config, &findings, |record| {
        if let Some(finding) = record.finding() {
            last.insert(finding.id.clone(), finding.clone());
        }
    })?;
    Ok(last.into_values().collect())
}

fn table(
    out: &mut impl Write,
    term: Term,
    form: columns::Form,
    findings: &[&Finding],
) -> std::io::Result<()> {
    let row = |one: &&Finding| {
        vec![
            one.severity.clone(),
            one.rule.clone(),
            look_back::time(one.first_seen),
            look_back::time(one.last_seen),
            one.count.to_string(),
            if one.state == "resolved" { "resolved" } else { "open" }.to_owned(),
            one.title.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = findings.iter().map(row).collect();
    columns::print(
        out,
        term,
        form,
        &["SEVERITY", "RULE", "FIRST SEEN", "LAST SEEN", "COUNT", "STATE", "WHAT"],
        &rows,
    )
}

fn rules(out: &mut impl Write, term: Term) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = RULES
        .iter()
        .map(|rule| {
            let params: Vec<String> =
                rule.params.iter().map(|param| format!("{}={}", param.name, param.default)).collect();
            vec![rule.name.into(), rule.severity.to_string(), params.join(" "), rule.meaning.into()]
        })
        .collect();
    columns::print(out, term, columns::Form::Table, &["RULE", "FROM", "PARAMETERS", "MEANING"], &rows)
}

/// The rules as a document; docs/rules.md is this text.
fn rules_document() -> String {
    let mut out = String::from(
        "# Rules\n\nMade by `keywitness findings --rules -o markdown` from the one table of rules. Each can be set under \
         `[rules.NAME]` in the\npolicy: `enabled = false`, `severity = \"low\"`, and its parameters. Severities are info, \
         low, medium, high and critical; of a rule\nthat chooses, the least one is named.\n",
    );
    for rule in &RULES {
        out += &format!(
            "\n## {}\n\n{}\n\n- Severity: {}\n- Silent: {}\n- What to do: {}\n",
            rule.name, rule.meaning, rule.severity, rule.silent, rule.next_step
        );
        if !rule.params.is_empty() {
            out += "\n| parameter | default | meaning |\n| --- | --- | --- |\n";
        }
        for param in rule.params {
            out += &format!("| `{}` | {} | {} |\n", param.name, param.default, param.meaning);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_rules_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rules.md");
        if std::env::var_os("KEYWITNESS_BLESS").is_some() {
            std::fs::write(path, rules_document()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let how = "write it with KEYWITNESS_BLESS=1 cargo test -p sensor-user the_document_of_rules";
        assert!(written == rules_document(), "docs/rules.md is not current: {how}");
    }
}
