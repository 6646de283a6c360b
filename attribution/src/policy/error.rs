//! What can be wrong with a policy, and where.

use thiserror::Error;

/// A mistake in a policy's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{line}:{column}: {message}")]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl PolicyError {
    /// A mistake at byte `at` of `text`.
    pub(super) fn at(text: &str, at: usize, message: impl Into<String>) -> Self {
        let before = text.get(..at).unwrap_or(text);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            message: message.into(),
        }
    }

    pub(super) fn of_toml(text: &str, error: &toml::de::Error) -> Self {
        // The cause may take several lines: what was unexpected, then what was expected.
        let message: Vec<&str> = error.message().lines().map(str::trim).collect();
        Self::at(text, error.span().map_or(0, |span| span.start), message.join("; "))
    }
}
