//! The configuration file: TOML, every setting optional, every mistake named with its place.

mod additions;
mod collector;
mod error;
mod export;
mod values;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use attribution::{
    cost::{MAX_OVERRIDES_BYTES, Prices},
    credential::Hint,
    endpoint::Catalogue,
    identity::answer::Source,
};
use serde::{Deserialize, de::IgnoredAny};

use crate::identity::sources::SOURCES;

pub use collector::Collector;
pub use error::ConfigError;
pub use export::Export;
pub use values::{
    CgroupPath, Format, HostName, KnownExecutable, Kubernetes, OptionalHook, RingBytes, StatusInterval,
    WatchPattern, Within,
};

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
    /// Receivers of records, by name.
    pub export: BTreeMap<String, Export>,
    /// Prices.
    pub cost: Cost,
    /// The durable log.
    pub log: Log,
    /// Metrics and probes.
    pub metrics: Metrics,
    /// Where the log is sent.
    pub collector: Collector,
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
    cost: Cost,
    log: Log,
    metrics: Metrics,
    collector: Collector,
    export: BTreeMap<String, Export>,
    /// These five are the catalogue's, which checks them itself.
    #[serde(rename = "provider")]
    _provider: IgnoredAny,
    #[serde(rename = "family")]
    _family: IgnoredAny,
    #[serde(rename = "credential_file")]
    _credential_file: IgnoredAny,
    #[serde(rename = "client")]
    _client: IgnoredAny,
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
    /// Hooks that are left out.
    pub disabled_hooks: Vec<OptionalHook>,
    /// The cgroup whose processes are watched.
    pub cgroup: Option<CgroupPath>,
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Host name in records instead of the machine's own.
    pub host: Option<HostName>,
    /// Name of the cluster in records; empty: the uid of its namespace `kube-system`.
    pub cluster: String,
    /// Name of this node in the cluster; by default `NODE_NAME`, then the host's.
    pub node: Option<String>,
    /// SPIFFE trust domain of which ids are derived; empty: none are.
    pub trust_domain: String,
    /// Which Kubernetes API is asked.
    pub kubernetes: Kubernetes,
    /// Sockets of containerd and CRI-O.
    pub cri: Vec<PathBuf>,
    /// Sockets of Docker.
    pub docker: Vec<PathBuf>,
    /// Sockets of Podman.
    pub podman: Vec<PathBuf>,
    /// Sockets of the system's D-Bus.
    pub systemd: Vec<PathBuf>,
    /// Admin socket of SPIRE's agent.
    pub spire: Option<PathBuf>,
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

/// Section `[cost]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cost {
    /// File with prices of the user's own, in the form of LiteLLM's `model_prices_and_context_window.json`.
    pub prices: Option<PathBuf>,
}

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Whether records are kept.
    pub enabled: bool,
    /// Folder of the log instead of `log` in the state folder.
    pub dir: Option<PathBuf>,
    /// Longest time a record waits to be made durable.
    pub commit_ms: Within<1, 60_000>,
    /// Records after which is committed at once.
    pub commit_records: Within<1, 16_384>,
    /// Size of a segment on disk.
    pub segment_bytes: Within<65_536, 1_073_741_824>,
    /// Age of a segment.
    pub segment_age_s: Within<60, 31_536_000>,
    /// Size of the whole log on disk.
    pub retain_bytes: Within<1_048_576, 1_099_511_627_776>,
    /// Age of the oldest records.
    pub retain_age_s: Within<3600, 3_153_600_000>,
    /// Whether the hashes are keyed with a key made from the fleet key.
    pub hmac: bool,
}

impl Log {
    /// Name of its folder in the state folder.
    const FOLDER: &str = "log";

    /// The folder of the log, for a sensor with this state folder.
    pub fn folder(&self, state_dir: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| state_dir.join(Self::FOLDER))
    }
}

/// Section `[metrics]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port that are served; nothing is without it.
    pub listen: Option<SocketAddr>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: None,
            commit_ms: Within::built_in(100),
            commit_records: Within::built_in(512),
            segment_bytes: Within::built_in(16 * 1024 * 1024),
            segment_age_s: Within::built_in(24 * 3600),
            retain_bytes: Within::built_in(1024 * 1024 * 1024),
            retain_age_s: Within::built_in(30 * 24 * 3600),
            hmac: false,
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        let sockets = |source| {
            let row = SOURCES.iter().find(|row| row.source == source);
            row.map(|row| row.sockets.iter().map(PathBuf::from).collect()).unwrap_or_default()
        };
        Self {
            host: None,
            cluster: String::new(),
            node: None,
            trust_domain: String::new(),
            kubernetes: Kubernetes::Auto,
            cri: sockets(Source::Cri),
            docker: sockets(Source::Docker),
            podman: sockets(Source::Podman),
            systemd: sockets(Source::Systemd),
            spire: None,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        let known = [
            "amp",
            "amp.exe",
            "bun",
            "claude*",
            "cline",
            ".cline",
            "codebuff",
            "codex*",
            "copilot",
            "crush",
            "curl",
            "deno",
            "droid",
            "goose",
            "goosed",
            "kilo",
            ".kilo",
            "kimi",
            "kiro-cli*",
            "node",
            "opencode*",
            ".opencode",
            "python3*",
        ];
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
            export: form.export,
            cost: form.cost,
            log: form.log,
            metrics: form.metrics,
            collector: form.collector,
            additions: Additions { path: path.to_owned(), text: additions.unwrap_or_default() },
        })
    }

    /// List prices, and the user's own before them.
    pub fn prices(&self) -> Result<Prices, ConfigError> {
        let wrong = |path: &Path, source| ConfigError::Prices { path: path.to_owned(), source };
        let prices = Prices::built_in().map_err(|error| wrong(Path::new("built-in prices"), error))?;
        let Some(path) = &self.cost.prices else { return Ok(prices) };
        let unreadable = |source| ConfigError::Unreadable { path: path.clone(), source };
        let mut text = String::new();
        let limit = u64::try_from(MAX_OVERRIDES_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(unreadable)?;
        prices.with_overrides(&text).map_err(|error| wrong(path, error))
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
