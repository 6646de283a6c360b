//! What can be wrong with a configuration file, and where.

use std::{
    io,
    path::{Path, PathBuf},
};

use attribution::{cost::PriceError, endpoint::CatalogueError};
use thiserror::Error;

/// Longest line that is quoted, in characters.
const MAX_QUOTE: usize = 120;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {source}")]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is too large to be meant.
    #[error("configuration {path} is larger than 1 MiB")]
    TooLarge {
        /// File.
        path: PathBuf,
    },
    /// A mistake in the file.
    #[error("{path}:{line}:{column}: {message} (line {line}: `{quote}`)")]
    At {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// The line.
        quote: String,
    },
    /// The prices cannot be used.
    #[error("{path}: {source}")]
    Prices {
        /// File.
        path: PathBuf,
        /// Cause.
        source: PriceError,
    },
    /// The catalogue cannot be used for a reason that has no place.
    #[error("{path}: {source}")]
    Catalogue {
        /// File.
        path: PathBuf,
        /// Cause.
        source: CatalogueError,
    },
}

impl ConfigError {
    pub(super) fn of_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        // The cause may take several lines: what was unexpected, then what was expected.
        let message: Vec<&str> = error.message().lines().map(str::trim).collect();
        Self::at(path, text, (line, column), message.join("; "))
    }

    pub(super) fn of_catalogue(path: &Path, text: &str, error: CatalogueError) -> Self {
        match error {
            CatalogueError::Entry { line, entry, problem } => {
                Self::at(path, text, (line, 1), format!("{entry}: {problem}"))
            }
            source => Self::Catalogue { path: path.to_owned(), source },
        }
    }

    fn at(path: &Path, text: &str, (line, column): (usize, usize), message: String) -> Self {
        let quote = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
        let quote = crate::term::escape(quote, MAX_QUOTE).into_owned();
        Self::At { path: path.to_owned(), line, column, message, quote }
    }
}
