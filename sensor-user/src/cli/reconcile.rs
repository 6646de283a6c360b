//! `keywitness reconcile`: the provider's own account of usage against what was seen.

mod export;

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use proto::v1::{ModelCall, Record};

use super::{
    columns,
    look_back::{self, dollars},
    report::Refused,
};
use crate::{config::Config, records::RecordArgs, term::Term};
use export::{Item, Provider, Used};

/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400_000_000_000;
const TITLES: [&str; 7] = ["DAY", "KEY", "MODEL", "BILLED", "SEEN", "UNSEEN", "UNBILLED"];

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Whose export it is
    #[arg(long, value_name = "PROVIDER", value_enum)]
    provider: Provider,
    /// The provider's usage or cost export (JSON pages of its administration interface)
    #[arg(long, value_name = "FILE")]
    usage: PathBuf,
    /// The provider's list of keys, to tell by their hints which key is which; without it all keys are one
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// What to print
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    output: columns::Form,
}

/// What the records show: calls by day, hint and model.
type Seen = BTreeMap<Item, Used>;

pub(super) fn run(args: &ReconcileArgs, config: &Config, term: Term) -> anyhow::Result<ExitCode> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let wrong = |path: &PathBuf, error: String| {
        let text = format!("{}: {error}", path.display());
        Refused::new(text, "save the pages of the provider's usage or cost interface as they are")
    };
    let billed =
        export::usage(args.provider, &read(&args.usage)?).map_err(|error| wrong(&args.usage, error))?;
    let keys = match &args.keys {
        Some(path) => Some(export::keys(&read(path)?).map_err(|error| wrong(path, error))?),
        None => None,
    };
    let mut seen = Seen::new();
    let provider = match args.provider {
        Provider::Openai => "openai",
        Provider::Anthropic => "anthropic",
    };
    look_back::each(&args.records, config, |record| add(&mut seen, provider, record))?;
    let rows = rows(&billed, &seen, keys.as_ref());
    let mut out = std::io::stdout().lock();
    columns::print(&mut out, term, args.output, &TITLES, &rows)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn add(seen: &mut Seen, provider: &str, record: &Record) {
    let Some(call) = record.model_call() else { return };
    let at = call.endpoint.as_ref().map(|endpoint| endpoint.provider.as_str()).unwrap_or_default();
    // What a provider refused it does not bill.
    if at != provider || call.status.is_some_and(|status| status >= 400) {
        return;
    }
    let item = Item {
        day: record.time / DAY_NS,
        key: call.credential.as_ref().map(|credential| credential.hint.clone()).unwrap_or_default(),
        model: model(call).to_owned(),
    };
    let tokens = call.tokens.as_ref();
    let tokens = tokens.map(|tokens| tokens.input.unwrap_or(0) + tokens.output.unwrap_or(0));
    let nanos = call.cost.as_ref().and_then(|cost| cost.amount.parse::<f64>().ok());
    let nanos = nanos.filter(|usd| *usd >= 0.0).map(|usd| (usd * 1e9).round() as u64);
    seen.entry(item).or_default().add(Used { calls: Some(1), tokens, nanos });
}

fn model(call: &ModelCall) -> &str {
    if call.model_served.is_empty() { &call.model_requested } else { &call.model_served }
}

/// A row for each billed line, then one for everything that was seen and not billed.
fn rows(
    billed: &BTreeMap<Item, Used>,
    seen: &Seen,
    keys: Option<&BTreeMap<String, String>>,
) -> Vec<Vec<String>> {
    let mut left = seen.clone();
    let mut rows = Vec::new();
    for (item, used) in billed {
        let hint = keys.and_then(|keys| keys.get(&item.key));
        let fits = |one: &Item| {
            one.day == item.day
                && (item.model.is_empty() || one.model == item.model)
                && hint.is_none_or(|hint| export::same_key(hint, &one.key))
                // A key that is in the list and not named by this line is another one.
                && (hint.is_some() || keys.is_none() || item.key.is_empty())
        };
        let mut here = Used::default();
        left.retain(|one, used| {
            if fits(one) {
                here.add(*used);
            }
            !fits(one)
        });
        rows.push(row(item, hint.map_or(item.key.as_str(), |hint| hint), *used, here));
    }
    rows.extend(left.iter().map(|(item, used)| row(item, &item.key, Used::default(), *used)));
    rows.sort();
    rows
}

fn row(item: &Item, key: &str, billed: Used, seen: Used) -> Vec<String> {
    let known = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let less = |one: Option<u64>, other: Option<u64>| one.and_then(|one| one.checked_sub(other.unwrap_or(0)));
    // What the bill does not tell cannot be missing from it.
    let told = |value: Option<u64>, billed: Option<u64>, other: Used| {
        let nothing_billed = other == Used::default();
        value.filter(|_| billed.is_some() || nothing_billed)
    };
    let unseen = Used {
        calls: less(billed.calls, seen.calls),
        tokens: less(billed.tokens, seen.tokens),
        nanos: less(billed.nanos, seen.nanos),
    };
    let unbilled = Used {
        calls: less(told(seen.calls, billed.calls, billed), billed.calls),
        tokens: less(told(seen.tokens, billed.tokens, billed), billed.tokens),
        nanos: less(told(seen.nanos, billed.nanos, billed), billed.nanos),
    };
    let day = look_back::time(item.day * DAY_NS + 1);
    vec![
        day.get(..10).unwrap_or_default().to_owned(),
        known(key),
        known(&item.model),
        text(billed),
        text(seen),
        text(unseen),
        text(unbilled),
    ]
}

fn text(used: Used) -> String {
    let some = |value: Option<u64>| value.filter(|value| *value > 0);
    let parts = [
        some(used.calls).map(|calls| format!("{calls} calls")),
        some(used.tokens).map(|tokens| format!("{tokens} tokens")),
        some(used.nanos).map(dollars),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "-".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use proto::v1::{Credential, Endpoint, Tokens, record::Body};

    use super::*;

    fn call(key: &str, model: &str, tokens: u64, status: u32) -> Record {
        let call = ModelCall {
            model_requested: model.into(),
            status: Some(status),
            tokens: Some(Tokens { input: Some(tokens), ..Tokens::default() }),
            credential: Some(Credential { hint: key.into(), ..Credential::default() }),
            endpoint: Some(Endpoint { provider: "openai".into(), ..Endpoint::default() }),
            ..ModelCall::default()
        };
        Record::new(20_522 * DAY_NS + 5, Body::ModelCall(Box::new(call)))
    }

    #[test]
    fn unseen_spend_and_unbilled_calls_are_told_apart() {
        let billed =
            export::usage(Provider::Openai, include_str!("reconcile/fixtures/openai_usage.json")).unwrap();
        let keys = BTreeMap::from([
            ("key_abc".to_owned(), "sk-pr...aaaa".to_owned()),
            ("key_def".to_owned(), "sk-pr...bbbb".to_owned()),
        ]);
        let mut seen = Seen::new();
        for record in [
            call("sk-proj-…aaaa", "gpt-5-mini", 5000, 200),
            call("sk-proj-…aaaa", "gpt-5-mini", 999, 429),
            call("sk-proj-…bbbb", "gpt-5", 1500, 200),
            call("sk-proj-…cccc", "gpt-4", 70, 200),
        ] {
            add(&mut seen, "openai", &record);
        }
        let rows = rows(&billed, &seen, Some(&keys));
        let find = |key: &str, day: &str| {
            rows.iter()
                .find(|row| row[1] == key && row[0] == day)
                .unwrap_or_else(|| panic!("{key}: {rows:?}"))
        };
        assert_eq!(
            find("sk-pr...aaaa", "2026-03-10")[3..],
            ["12 calls, 5300 tokens", "1 calls, 5000 tokens", "11 calls, 300 tokens", "-"]
        );
        assert_eq!(find("sk-pr...bbbb", "2026-03-10")[5..], ["2 calls", "500 tokens"]);
        assert_eq!(find("sk-pr...aaaa", "2026-03-11")[4..], ["-", "1 calls, 15 tokens", "-"]);
        assert_eq!(find("sk-proj-…cccc", "2026-03-10")[5..], ["-", "1 calls, 70 tokens"]);
    }

    #[test]
    fn without_a_list_of_keys_days_and_models_are_compared() {
        let billed = BTreeMap::from([(
            Item { day: 20_522, ..Item::default() },
            Used { nanos: Some(5_000_000_000), ..Used::default() },
        )]);
        let mut seen = Seen::new();
        add(&mut seen, "openai", &call("x", "gpt-5", 10, 200));
        let rows = rows(&billed, &seen, None);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0][5..], ["$5.00", "-"]);
    }
}
