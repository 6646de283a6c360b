//! Records in, findings out. One rule a file.

mod shared_credential;

pub(crate) use shared_credential::RULE as SHARED_CREDENTIAL;
pub use shared_credential::SharedCredential;

/// Name, default severity and meaning of every rule.
pub const RULES: &[Rule] = &[Rule {
    name: shared_credential::RULE,
    severity: "high",
    meaning: "one credential is used by two or more identities",
}];

/// A row of [`RULES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Name in findings.
    pub name: &'static str,
    /// Severity unless the rule finds cause for another.
    pub severity: &'static str,
    /// What it says.
    pub meaning: &'static str,
}
