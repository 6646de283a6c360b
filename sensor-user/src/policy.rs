//! The policy file: read, checked, and read again when it changes.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attribution::{
    credential::{Extractor, MAX_SECRET_BYTES, Secret},
    policy::{Policy, PolicyError},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{config::Config, fleet_key};

/// Where the file is looked for unless one is named.
pub const DEFAULT_PATH: &str = "/etc/keywitness/policy.toml";
/// Largest policy file, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// Longest line that is quoted, in characters.
const MAX_QUOTE: usize = 120;

/// Why a policy cannot be used.
#[derive(Debug, Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("cannot read policy {path}: {source}")]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file is too large to be meant.
    #[error("policy {path} is larger than 16 MiB")]
    TooLarge {
        /// File.
        path: PathBuf,
    },
    /// A mistake in the file.
    #[error("{path}:{error} (line {}: `{quote}`)", error.line)]
    At {
        /// File.
        path: PathBuf,
        /// Place and cause.
        error: PolicyError,
        /// The line.
        quote: String,
    },
}

/// What a file looked like when it was read: it changed when this did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// The files that a policy was made from, as they were.
type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// Reads policies. The fleet key is opened only when a `@file` needs it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Whether the file may be absent.
    pub optional: bool,
    /// Folder of the fleet key.
    pub state_dir: PathBuf,
    /// For the shapes of keys.
    pub config: Config,
}

/// A policy file that is watched.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    /// The file and the files of secrets it names, as they were.
    stamps: Stamps,
    next: Duration,
}

impl Source {
    /// Reads and checks the policy; an absent file that may be absent is the empty policy.
    pub fn read(&self) -> Result<Policy, PolicyFileError> {
        self.load().0
    }

    /// Reads the policy and goes on watching it.
    pub fn watch(self) -> Result<(Arc<Policy>, Watch), PolicyFileError> {
        let (policy, stamps) = self.load();
        Ok((Arc::new(policy?), Watch { source: self, stamps, next: Duration::ZERO }))
    }

    /// The policy, and the state of every file that it was made from.
    fn load(&self) -> (Result<Policy, PolicyFileError>, Stamps) {
        let mut stamps = vec![(self.path.clone(), stamp(&self.path))];
        let text = match text(&self.path) {
            Ok(text) => text,
            Err(PolicyFileError::Unreadable { source, .. })
                if self.optional && source.kind() == ErrorKind::NotFound =>
            {
                return (Ok(Policy::default()), stamps);
            }
            Err(error) => return (Err(error), stamps),
        };
        let mut extractor = None;
        let policy = Policy::parse(&text, &mut |name| {
            let path = self.path.parent().unwrap_or(Path::new("/")).join(name);
            stamps.push((path.clone(), stamp(&path)));
            self.fingerprint(&path, &mut extractor)
        });
        let at = |error: PolicyError| {
            let quote = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default().trim();
            let quote = crate::term::escape(quote, MAX_QUOTE).into_owned();
            PolicyFileError::At { path: self.path.clone(), error, quote }
        };
        (policy.map_err(at), stamps)
    }

    /// The fingerprint of the secret that is the only line of a file.
    fn fingerprint(&self, path: &Path, extractor: &mut Option<Extractor>) -> Result<String, String> {
        let unreadable = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_SECRET_BYTES as u64 + 2)
            .read_to_string(&mut text)
            .map_err(|error| unreadable(&error))?;
        let secret = text.trim();
        if secret.is_empty() || secret.contains(char::is_whitespace) || secret.len() > MAX_SECRET_BYTES {
            return Err(format!("{} has to hold one secret and nothing else", path.display()));
        }
        if extractor.is_none() {
            let key =
                fleet_key::open(&self.state_dir).map_err(|error| format!("cannot fingerprint: {error}"))?;
            let catalogue = self.config.catalogue().map_err(|error| error.to_string())?;
            *extractor = Some(Extractor::new(Arc::new(key.key), &catalogue, self.config.credentials.hint));
        }
        let found = extractor.as_ref().map(|one| one.describe(&Secret::from_line(secret.to_owned()), ""));
        found.map(|found| found.fingerprint.to_string()).ok_or_else(|| "cannot fingerprint".to_owned())
    }
}

impl Watch {
    /// The new policy when a file has changed and is good. A broken one is told once, and the old one stays in force.
    /// `now` is any clock that does not go back.
    pub fn changed(&mut self, now: Duration) -> Option<Arc<Policy>> {
        if now < self.next {
            return None;
        }
        self.next = now + EVERY;
        if self.stamps.iter().all(|(path, known)| stamp(path) == *known) {
            return None;
        }
        let (policy, stamps) = self.source.load();
        self.stamps = stamps;
        match policy {
            Ok(policy) => {
                let entitlements = policy.entitlements.len();
                tracing::info!(policy = %self.source.path.display(), entitlements, "the new policy is in force");
                Some(Arc::new(policy))
            }
            Err(error) => {
                tracing::error!("the new policy is broken and the old one stays in force: {error}");
                None
            }
        }
    }
}

fn text(path: &Path) -> Result<String, PolicyFileError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > MAX_BYTES => Err(PolicyFileError::TooLarge { path: path.to_owned() }),
        Ok(_) => Ok(text),
        Err(source) => Err(PolicyFileError::Unreadable { path: path.to_owned(), source }),
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let known = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: known.dev(),
        inode: known.ino(),
        size: known.size(),
        modified: (known.mtime(), known.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn source(folder: &Path, text: &str) -> Source {
        let path = folder.join("policy.toml");
        fs::write(&path, text).unwrap();
        Source { path, optional: false, state_dir: folder.join("state"), config: Config::default() }
    }

    const GOOD: &str = "[[entitlement]]\nlabel = 'bot'\nfingerprint = '@bot.key'\n";

    #[test]
    fn a_secret_file_becomes_its_fingerprint_and_bad_ones_are_named_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), GOOD);
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("policy.toml:3:15: cannot read"), "{error}");
        fs::write(folder.path().join("bot.key"), "two words\n").unwrap();
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("one secret and nothing else") && !error.contains("two words"), "{error}");
        fs::write(folder.path().join("bot.key"), "sk-proj-of-the-bot-0123456789\n").unwrap();
        let policy = source.read().unwrap();
        assert!(policy.entitlements[0].fingerprints[0].starts_with("kw1-"));
    }

    #[test]
    fn an_absent_file_is_empty_only_where_it_may_be_absent() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path(), "");
        fs::remove_file(&source.path).unwrap();
        assert!(matches!(source.read(), Err(PolicyFileError::Unreadable { .. })));
        source.optional = true;
        assert_eq!(source.read().unwrap(), Policy::default());
    }

    #[test]
    fn a_change_is_taken_over_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), "");
        let path = source.path.clone();
        let (policy, mut watch) = source.watch().unwrap();
        assert!(policy.entitlements.is_empty());
        let at = Duration::from_secs;
        assert!(watch.changed(at(10)).is_none());
        fs::write(&path, "[[entitlement]]\nlabel = 'a'\nfingerprint = 'kw1-x-1'\n").unwrap();
        assert!(watch.changed(at(11)).is_none(), "it is not time to look again");
        assert_eq!(watch.changed(at(12)).unwrap().entitlements.len(), 1);
        fs::write(&path, "broken").unwrap();
        assert!(watch.changed(at(14)).is_none());
        fs::write(&path, "[[entitlement]]\nlabel = 'b'\nfingerprint = 'kw1-x-2'\n").unwrap();
        assert_eq!(watch.changed(at(16)).unwrap().entitlements[0].label, "b");
    }

    #[test]
    fn a_new_secret_in_a_named_file_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("bot.key"), "sk-first").unwrap();
        let (first, mut watch) = source(folder.path(), GOOD).watch().unwrap();
        assert!(watch.changed(Duration::from_secs(10)).is_none());
        fs::write(folder.path().join("bot.key"), "sk-second").unwrap();
        let second = watch.changed(Duration::from_secs(20)).unwrap();
        assert_ne!(first.entitlements[0].fingerprints, second.entitlements[0].fingerprints);
    }
}
