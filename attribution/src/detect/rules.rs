//! The table of rules: documentation, defaults and the command line are made from it.

use std::fmt;

use super::check::Check;

/// What a rule finds, how bad it is, and what can be set.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Name in findings and in the policy.
    pub name: &'static str,
    /// Severity, or the least of those that it chooses from.
    pub severity: Severity,
    /// What it says, as a sentence.
    pub meaning: &'static str,
    /// When it stays silent although something looks like it.
    pub silent: &'static str,
    /// What to do about a finding.
    pub next_step: &'static str,
    /// What can be set under `[rules.NAME]`.
    pub params: &'static [Param],
    pub(super) checks: &'static [Check],
}

/// A number that can be set.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Name in the policy; its end tells the unit.
    pub name: &'static str,
    /// Value unless set.
    pub default: u64,
    /// What it does.
    pub meaning: &'static str,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be put right at some time.
    Low,
    /// To be put right soon.
    Medium,
    /// To be looked at today.
    High,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// All, least first.
    pub const ALL: [Self; 5] = [Self::Info, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of a word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// All words, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Every rule.
pub const RULES: [Rule; 21] = [
    super::shared_credential::RULE,
    super::unregistered_credential::RULE,
    super::out_of_scope_use::RULE,
    super::expired_entitlement::RULE,
    super::expired_exception::RULE,
    super::dormant_entitlement::RULE,
    super::environment_crossing::RULE,
    super::personal_credential::RULE,
    super::static_key::RULE,
    super::new_endpoint::RULE,
    super::budget::RULE,
    super::token_burn::RULE,
    super::runaway_loop::RULE,
    super::orphaned_session::RULE,
    super::credential_read::RULE,
    super::key_misdirected::RULE,
    super::key_exposed::RULE,
    super::unseen_call::RULE,
    super::name_conflict::RULE,
    super::sensor_degraded::RULE,
    super::suspect_sensor::RULE,
];
