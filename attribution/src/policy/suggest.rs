//! A first policy from what was seen.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Policy;
use crate::detect::Consumption;

/// A policy in which everything that was seen is allowed and named, for a person to go through. Credentials that
/// `known` has already are left out.
pub fn suggest(seen: &Consumption, known: &Policy) -> String {
    let mut out = String::from(
        "# A first policy, made from what was seen. Everything that happened is allowed here: go through it, give\n\
         # each entry a label and an owner, and take out what should not be.\n",
    );
    let new = seen.credentials.iter().filter(|one| known.entitlement(&one.fingerprint).is_none());
    for (number, one) in new.enumerate() {
        let collect = |part: fn(&crate::detect::UserReport) -> Vec<String>| -> BTreeSet<String> {
            one.users.iter().flat_map(part).filter(|text| !text.is_empty()).collect()
        };
        let principals = collect(|user| vec![user.principal.clone()]);
        let providers = collect(|user| user.destinations.iter().map(|dest| dest[0].clone()).collect());
        let models = collect(|user| user.destinations.iter().map(|dest| dest[2].clone()).collect());
        let label = match principals.first().and_then(|id| id.rsplit('/').next()) {
            Some(name) => format!("{}-{}", name.trim_end_matches(".service"), number + 1),
            None => format!("key-{}", number + 1),
        };
        out.push('\n');
        if principals.len() > 1 {
            let _ = writeln!(
                out,
                "# Shared by {} principals: each should have a key of its own.",
                principals.len()
            );
        }
        let _ = writeln!(out, "[[entitlement]]\nlabel = {}", quoted(&label));
        let hint = if one.hint.is_empty() { String::new() } else { format!("  # {}", plain(&one.hint)) };
        let _ = writeln!(out, "fingerprint = {}{hint}", quoted(&one.fingerprint));
        let _ = writeln!(out, "owner = \"\"");
        for (name, values) in [("workloads", principals), ("providers", providers), ("models", models)] {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(|value| quoted(&literal(value))).collect();
                let _ = writeln!(out, "{name} = [{}]", values.join(", "));
            }
        }
    }
    out
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Text for a comment: on one line.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

/// A pattern that matches `text`: stars and question marks in names match themselves as well.
fn literal(text: &str) -> String {
    text.replace('*', "?")
}
