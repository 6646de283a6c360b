//! Values with limits, checked where they enter: in the file and on the command line alike.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr};

use attribution::credential::Hint;
use serde::{Deserialize, Deserializer};

use crate::bpf::hooks::HOOKS;

/// Form of the records on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A readable line per model call, findings as blocks
    #[default]
    Compact,
    /// One JSON object per line, every record
    Json,
    /// Nothing; records are in the flow log
    None,
}

/// Size of the event buffer in bytes: a power of two from 64 KiB to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct RingBytes(u32);

/// Seconds between two status records: 1 to 86400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct StatusInterval(u32);

/// A host name: letters, digits, `.`, `_` and `-`, at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(String);

/// A file name or absolute path, with an optional `*` at the end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KnownExecutable(String);

/// A whole number within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct Within<const MIN: u64, const MAX: u64>(u64);

/// Which Kubernetes API is asked: `auto`, `off` or the path of a kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Kubernetes {
    /// That of the cluster this runs in, if any
    #[default]
    Auto,
    /// None
    Off,
    /// That of this file's current context
    File(PathBuf),
}

/// A path pattern of credential files: absolute, or `~/…` for every home folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct WatchPattern(String);

/// The name of a hook that the sensor can do without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OptionalHook(String);

/// A cgroup: its path from the root of the cgroup v2 hierarchy, with a leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CgroupPath(String);

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(pub(super) Cow<'static, str>);

impl BadValue {
    /// With this reason.
    pub(super) fn new(reason: &'static str) -> Self {
        Self(reason.into())
    }
}

impl RingBytes {
    const MIN: u64 = 64 * 1024;
    const MAX: u64 = 1024 * 1024 * 1024;

    /// Bytes.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for RingBytes {
    fn default() -> Self {
        Self(8 * 1024 * 1024)
    }
}

impl TryFrom<u64> for RingBytes {
    type Error = BadValue;

    fn try_from(bytes: u64) -> Result<Self, BadValue> {
        let wrong = BadValue("must be a power of two from 65536 to 1073741824 (bytes)".into());
        let fits = (Self::MIN..=Self::MAX).contains(&bytes) && bytes.is_power_of_two();
        u32::try_from(bytes).ok().filter(|_| fits).map(Self).ok_or(wrong)
    }
}

impl StatusInterval {
    const MAX: u64 = 86_400;

    /// As a duration.
    pub fn get(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.0.into())
    }
}

impl Default for StatusInterval {
    fn default() -> Self {
        Self(10)
    }
}

impl TryFrom<u64> for StatusInterval {
    type Error = BadValue;

    fn try_from(seconds: u64) -> Result<Self, BadValue> {
        let fits = (1..=Self::MAX).contains(&seconds);
        let wrong = BadValue("must be from 1 to 86400 (seconds)".into());
        u32::try_from(seconds).ok().filter(|_| fits).map(Self).ok_or(wrong)
    }
}

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    pub(super) fn built_in(value: u64) -> Self {
        Self(value.clamp(MIN, MAX))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<u64> for Within<MIN, MAX> {
    type Error = BadValue;

    fn try_from(value: u64) -> Result<Self, BadValue> {
        let wrong = || BadValue(format!("must be from {MIN} to {MAX}").into());
        (MIN..=MAX).contains(&value).then_some(Self(value)).ok_or_else(wrong)
    }
}

/// From the command line by way of the number.
macro_rules! from_number {
    ($($type:ty),*) => {$(
        impl FromStr for $type {
            type Err = BadValue;

            fn from_str(text: &str) -> Result<Self, BadValue> {
                text.parse::<u64>().map_err(|_| BadValue("must be a whole number".into()))?.try_into()
            }
        }
    )*};
}

from_number!(RingBytes, StatusInterval);

impl HostName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostName {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let good = (1..=253).contains(&text.len()) && text.bytes().all(plain);
        let wrong = BadValue("must be a host name: 1 to 253 letters, digits, `.`, `_` or `-`".into());
        if good { Ok(Self(text)) } else { Err(wrong) }
    }
}

impl KnownExecutable {
    pub(super) fn built_in(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Whether the executable at `path` is meant.
    pub fn fits(&self, path: &str) -> bool {
        let (pattern, open) = match self.0.strip_suffix('*') {
            Some(start) => (start, true),
            None => (self.0.as_str(), false),
        };
        let subject =
            if pattern.starts_with('/') { path } else { path.rsplit('/').next().unwrap_or_default() };
        if open { subject.starts_with(pattern) } else { subject == pattern }
    }
}

impl TryFrom<String> for KnownExecutable {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        let body = text.strip_suffix('*').unwrap_or(&text);
        let place = body.starts_with('/') || !body.contains('/');
        let good = !body.is_empty() && text.len() <= 4096 && place && !body.contains(['*', '\0']);
        // The parser knows the place of the list only, so the value is named.
        let wrong = || format!("`{text}` is neither file name nor absolute path; only its end may be `*`");
        if good { Ok(Self(text)) } else { Err(BadValue(wrong().into())) }
    }
}

impl TryFrom<String> for Kubernetes {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') => Ok(Self::File(text.into())),
            _ => Err(BadValue("must be \"auto\", \"off\" or the absolute path of a kubeconfig".into())),
        }
    }
}

impl WatchPattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WatchPattern {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        let rest = text.strip_prefix("~/").or_else(|| text.strip_prefix('/')).unwrap_or_default();
        let part = |part: &str| !part.is_empty() && !part.contains("**") && part != "." && part != "..";
        let good = text.len() <= 4096 && rest.split('/').all(part) && !text.contains('\0');
        let wrong = || {
            format!(
                "`{text}` is neither `/path` nor `~/path`; `*` stands for a part of one name, and there is no `**`"
            )
        };
        if good { Ok(Self(text)) } else { Err(BadValue(wrong().into())) }
    }
}

impl OptionalHook {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for OptionalHook {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        match HOOKS.iter().find(|hook| hook.program == text) {
            Some(hook) if hook.required => {
                Err(BadValue(format!("the sensor cannot do without `{text}`").into()))
            }
            Some(_) => Ok(Self(text)),
            None => Err(BadValue(format!("there is no hook `{text}`; see `keywitness doctor`").into())),
        }
    }
}

impl CgroupPath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = BadValue;

    fn try_from(text: String) -> Result<Self, BadValue> {
        let parts = text.strip_prefix('/').unwrap_or_default();
        let fine = !parts.is_empty() && parts.split('/').all(|part| !["", ".", ".."].contains(&part));
        match fine {
            true => Ok(Self(text)),
            false => Err(BadValue::new("a path from the root of the cgroup tree, such as /machine.slice")),
        }
    }
}

/// `full`, `prefix` or `none`.
pub(super) fn hint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hint, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Form {
        Full,
        Prefix,
        None,
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Full => Hint::Full,
        Form::Prefix => Hint::Prefix,
        Form::None => Hint::None,
    })
}
