//! The configuration file: TOML, every setting optional, every mistake named with its place.

mod additions;
mod error;
mod values;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use attribution::{credential::Hint, endpoint::Catalogue};
use serde::{Deserialize, de::IgnoredAny};

pub use error::ConfigError;
pub use values::{Format, HostName, KnownExecutable, RingBytes, StatusInterval, WatchPattern};

/// Where the file is looked for unless one is named.
pub const DEFAULT_PATH: &str = "/etc/keywitness/config.toml";
/// The default configuration with a comment for every setting.
pub const DEFAULT_TEXT: &str = include_str!("default.toml");
/// Largest configuration file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What is printed.
    pub output: Output,
    /// The kernel programs.
    pub kernel: Kernel,
    /// The TLS probes.
    pub tls: Tls,
    /// Names in records.
    pub identity: Identity,
    /// What is shown of credentials.
    pub credentials: Credentials,
    additions: Additions,
}

/// The user's part of the provider catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Additions {
    path: PathBuf,
    /// The file with everything else blanked out, so that lines and columns are those of the file.
    text: String,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileForm {
    output: Output,
    kernel: Kernel,
    tls: Tls,
    identity: Identity,
    credentials: Credentials,
    /// These four are the catalogue's, which checks them itself.
    #[serde(rename = "provider")]
    _provider: IgnoredAny,
    #[serde(rename = "family")]
    _family: IgnoredAny,
    #[serde(rename = "credential_file")]
    _credential_file: IgnoredAny,
    #[serde(rename = "disable")]
    _disable: IgnoredAny,
}

/// Section `[output]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Form of the records on standard output.
    pub format: Format,
    /// Time between two status records.
    pub status_interval_s: StatusInterval,
}

/// Section `[kernel]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// Size of the event buffer.
    pub ring_bytes: RingBytes,
    /// Diagnostics of the kernel programs.
    pub log: bool,
}

/// Section `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether plaintext is read at all.
    pub enabled: bool,
    /// Hits per second of other traffic after which a library is demoted to process scope.
    pub hit_budget_per_s: u32,
    /// Programs that are probed at exec even then.
    pub known_executables: Vec<KnownExecutable>,
}

/// Section `[identity]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Host name in records instead of the machine's own.
    pub host: Option<HostName>,
}

/// Section `[credentials]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credentials {
    /// What is shown beside the fingerprint.
    #[serde(deserialize_with = "values::hint")]
    pub hint: Hint,
    /// Further files that hold credentials.
    pub watch: Vec<WatchPattern>,
}

impl Default for Tls {
    fn default() -> Self {
        let known = ["bun", "claude", "codex", "curl", "deno", "goose", "node", "opencode", "python3*"];
        Self {
            enabled: true,
            hit_budget_per_s: 2000,
            known_executables: known.into_iter().map(KnownExecutable::built_in).collect(),
        }
    }
}

impl Tls {
    /// Whether the executable at `path` is known to call models.
    pub fn knows(&self, path: &str) -> bool {
        self.known_executables.iter().any(|known| known.fits(path))
    }
}

impl Config {
    /// Reads `explicit`, or else the default file, which may be absent.
    pub fn load(explicit: Option<&Path>) -> Result<Self, ConfigError> {
        let path = explicit.unwrap_or(Path::new(DEFAULT_PATH));
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text)) {
            Ok(_) if text.len() as u64 > MAX_BYTES => Err(ConfigError::TooLarge { path: path.to_owned() }),
            Ok(_) => Self::parse(path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound && explicit.is_none() => Ok(Self::default()),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Reads `text`, which came from `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let form: FileForm =
            toml::from_str(text).map_err(|error| ConfigError::of_toml(path, text, &error))?;
        let additions = additions::text(text).map_err(|error| ConfigError::of_toml(path, text, &error))?;
        Ok(Self {
            output: form.output,
            kernel: form.kernel,
            tls: form.tls,
            identity: form.identity,
            credentials: form.credentials,
            additions: Additions { path: path.to_owned(), text: additions.unwrap_or_default() },
        })
    }

    /// The provider catalogue with the file's additions.
    pub fn catalogue(&self) -> Result<Catalogue, ConfigError> {
        let Additions { path, text } = &self.additions;
        // First the form alone: this parser's errors carry their place.
        toml::from_str::<attribution::endpoint::entry::Additions>(text)
            .map_err(|error| ConfigError::of_toml(path, text, &error))?;
        Catalogue::with_additions(text).map_err(|error| ConfigError::of_catalogue(path, text, error))
    }
}
