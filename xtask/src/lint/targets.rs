//! What cargo says about the workspace: test targets and dependencies.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell::text;
use crate::workspace;

/// The package of the end-to-end tests.
const E2E_PACKAGE: &str = "keywitness-tests";

/// Integration test targets, each with its package.
pub(crate) struct Targets(Vec<(String, String)>);

impl Targets {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self> {
        Self::parse(&metadata()?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let mut found = Vec::new();
        for package in packages(metadata)? {
            for target in package["targets"].as_array().into_iter().flatten() {
                let is_test =
                    target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "test"));
                if is_test {
                    found.push((name(package)?.to_owned(), name(target)?.to_owned()));
                }
            }
        }
        Ok(Self(found))
    }

    /// Names of the end-to-end test targets.
    pub(crate) fn e2e(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(package, _)| package == E2E_PACKAGE).map(|(_, target)| target.as_str())
    }

    /// Names of all other integration test targets.
    pub(crate) fn others(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(package, _)| package != E2E_PACKAGE).map(|(_, target)| target.as_str())
    }
}

/// The workspace as `cargo metadata` gives it, without foreign packages.
pub(crate) fn metadata() -> Result<Value> {
    let output = text(workspace::cargo("metadata").args(["--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&output).context("`cargo metadata` gave no JSON")
}

/// The packages of the workspace.
pub(crate) fn packages(metadata: &Value) -> Result<&Vec<Value>> {
    metadata["packages"].as_array().context("`cargo metadata` gave no packages")
}

/// The name of a package, target or dependency.
pub(crate) fn name(of: &Value) -> Result<&str> {
    of["name"].as_str().context("`cargo metadata` gave something without a name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn end_to_end_targets_are_told_from_the_others() {
        let metadata = json!({ "packages": [
            { "name": "a", "targets": [{ "name": "a", "kind": ["lib"] }, { "name": "prefix", "kind": ["test"] }] },
            { "name": "keywitness-tests", "targets": [{ "name": "demo", "kind": ["bin"] }, { "name": "loss", "kind": ["test"] }] },
        ]});
        let targets = Targets::parse(&metadata).unwrap();
        assert_eq!(targets.e2e().collect::<Vec<_>>(), ["loss"]);
        assert_eq!(targets.others().collect::<Vec<_>>(), ["prefix"]);
    }

    #[test]
    fn answer_without_packages_is_an_error() {
        assert!(Targets::parse(&json!({})).is_err());
    }
}
