//! The compilers that can build kernel programs, and the linker they need.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};

use crate::shell;
use crate::workspace;

/// The target of kernel programs, in this machine's byte order.
pub(crate) const TARGET: &str =
    if cfg!(target_endian = "little") { "bpfel-unknown-none" } else { "bpfeb-unknown-none" };
/// The version of bpf-linker that the build is checked with.
pub(crate) const LINKER_VERSION: &str = "0.10.3";
/// Debian's compiler, which comes with a `core` for the BPF target.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Debian's clippy that fits [`DEBIAN_RUSTC`].
pub(crate) const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";
/// Overrides the choice: `nightly` or `debian`.
pub(crate) const CHOICE_VARIABLE: &str = "KEYWITNESS_BPF_TOOLCHAIN";

/// A compiler for the BPF target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// rustup's nightly with `rust-src`: `core` is built from source.
    Nightly,
    /// Debian's `rustc-web` with the prebuilt `core` of `libstd-rust-web-dev-bpf`.
    Debian,
}

/// Everything a kernel build needs.
#[derive(Debug)]
pub(crate) struct Kit {
    /// The compiler.
    pub(crate) toolchain: Toolchain,
    /// The path of bpf-linker.
    pub(crate) linker: PathBuf,
}

impl FromStr for Toolchain {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "nightly" => Ok(Self::Nightly),
            "debian" => Ok(Self::Debian),
            other => Err(anyhow!("{CHOICE_VARIABLE}={other} is unknown: use `nightly` or `debian`")),
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nightly => "rustup nightly with rust-src",
            Self::Debian => "Debian's rustc with core for BPF",
        })
    }
}

impl Toolchain {
    /// The compiler to use, the user's choice first; nothing when none is installed.
    pub(crate) fn detect() -> Result<Option<Self>> {
        let choice = env::var(CHOICE_VARIABLE).ok().map(|text| text.parse()).transpose()?;
        Ok(choose(choice, Self::works))
    }

    /// Whether it is installed with all it needs.
    fn works(self) -> bool {
        match self {
            Self::Nightly => nightly_sysroot()
                .is_some_and(|root| root.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()),
            Self::Debian => {
                let mut rustc = Command::new(DEBIAN_RUSTC);
                rustc.args(["--print", "target-libdir", "--target", TARGET]);
                shell::text(&mut rustc).is_ok_and(|dir| holds_core(Path::new(dir.trim())))
            }
        }
    }

    /// Cargo with this compiler, on the host or for the BPF target.
    fn cargo(self, verb: &str) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", verb, "-Zbuild-std=core"]);
                command.env_remove("RUSTC").env_remove("RUSTDOC");
                command
            }
            Self::Debian => {
                let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                command.arg(verb).env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.current_dir(workspace::root()).stdin(Stdio::null());
        for name in
            ["RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_BUILD_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_TARGET_DIR"]
        {
            command.env_remove(name);
        }
        workspace::forget_this_package(&mut command);
        command
    }
}

impl Kit {
    /// What this machine has; the error says how to get the rest.
    pub(crate) fn detect() -> Result<Self> {
        let toolchain = Toolchain::detect()?
            .context("no Rust compiler for BPF is installed: run `cargo xtask setup` as root, or `rustup toolchain install nightly --component rust-src`")?;
        match linker()? {
            Some((linker, version)) if version == LINKER_VERSION => Ok(Self { toolchain, linker }),
            Some((linker, version)) => bail!(
                "{} is version {version}, but {LINKER_VERSION} is needed: run `cargo xtask setup`",
                linker.display()
            ),
            None => bail!("bpf-linker is not installed: run `cargo xtask setup`"),
        }
    }

    /// Cargo for the kernel side, with its own target folder.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = self.toolchain.cargo(verb);
        let flags = [
            format!("-Clinker={}", self.linker.display()),
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
        ];
        command
            .args(["--release", "--target", TARGET, "--package", "sensor-ebpf"])
            .arg("--target-dir")
            .arg(target_dir())
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command
    }
}

/// The kernel side's own target folder.
pub(crate) fn target_dir() -> PathBuf {
    workspace::target_dir().join("bpf")
}

/// bpf-linker and its version, from PATH or cargo's own folder.
pub(crate) fn linker() -> Result<Option<(PathBuf, String)>> {
    let own = cargo_bin().map(|dir| dir.join("bpf-linker")).filter(|file| file.is_file());
    let Some(path) = own.or_else(|| shell::find("bpf-linker")) else { return Ok(None) };
    let output = shell::text(Command::new(&path).arg("--version"))?;
    let version = linker_version(&output)
        .with_context(|| format!("{} gives an unexpected version: {}", path.display(), output.trim()))?;
    Ok(Some((path, version.to_owned())))
}

/// Where `cargo install` puts executables.
fn cargo_bin() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| env::home_dir().map(|dir| dir.join(".cargo"))).map(|dir| dir.join("bin"))
}

fn choose(choice: Option<Toolchain>, works: impl Fn(Toolchain) -> bool) -> Option<Toolchain> {
    let order = [Toolchain::Nightly, Toolchain::Debian];
    order.into_iter().filter(|one| choice.is_none_or(|wanted| wanted == *one)).find(|one| works(*one))
}

fn linker_version(output: &str) -> Option<&str> {
    output.lines().next()?.strip_prefix("bpf-linker ")?.split_whitespace().next()
}

fn nightly_sysroot() -> Option<PathBuf> {
    let mut rustc = Command::new("rustup");
    // Asking must not download a toolchain.
    rustc.args(["run", "nightly", "rustc", "--print", "sysroot"]).env("RUSTUP_AUTO_INSTALL", "0");
    shell::text(&mut rustc).ok().map(|text| PathBuf::from(text.trim()))
}

fn holds_core(dir: &Path) -> bool {
    let Ok(entries) = dir.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightly_comes_first_when_both_work() {
        assert_eq!(choose(None, |_| true), Some(Toolchain::Nightly));
    }

    #[test]
    fn debian_is_taken_when_nightly_lacks_its_source() {
        assert_eq!(choose(None, |one| one == Toolchain::Debian), Some(Toolchain::Debian));
    }

    #[test]
    fn a_choice_that_does_not_work_is_not_replaced() {
        assert_eq!(choose(Some(Toolchain::Nightly), |one| one == Toolchain::Debian), None);
    }

    #[test]
    fn choice_is_read_and_a_wrong_one_is_named() {
        assert_eq!("debian".parse::<Toolchain>().unwrap(), Toolchain::Debian);
        assert_eq!("nightly".parse::<Toolchain>().unwrap(), Toolchain::Nightly);
        assert!("stable".parse::<Toolchain>().unwrap_err().to_string().contains("stable"));
    }

    #[test]
    fn linker_version_is_the_word_after_the_name() {
        assert_eq!(linker_version("bpf-linker 0.10.3\n"), Some("0.10.3"));
        assert_eq!(linker_version("bpf-linker 0.11.0 (abc)\nLLVM 22"), Some("0.11.0"));
        assert_eq!(linker_version("error"), None);
        assert_eq!(linker_version(""), None);
    }

    #[test]
    fn kernel_build_has_btf_and_the_given_linker() {
        let kit = Kit { toolchain: Toolchain::Debian, linker: "/opt/bpf-linker".into() };
        let command = kit.cargo("build");
        let flags =
            command.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS").unwrap().1.unwrap();
        assert_eq!(flags, "-Clinker=/opt/bpf-linker\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf");
        assert!(shell::line(&command).contains(TARGET));
    }
}
