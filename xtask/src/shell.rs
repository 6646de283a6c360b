//! Running other programs, with errors that name the command.

use std::env;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Folders of system programs that an ordinary user's PATH may lack.
const SYSTEM_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Writes a progress line to stderr.
pub(crate) fn say(text: impl Display) {
    eprintln!("xtask: {text}");
}

/// Runs a command to its end with its output shown; an error unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command and gives its standard output.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", line(command), output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The path of a program, from PATH and the system folders.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Gives an error that says how to start again as root, unless this is root.
pub(crate) fn require_root(what: &str) -> Result<()> {
    if !is_root() {
        bail!("{what} needs root: run `sudo env \"PATH=$PATH\" cargo xtask …`");
    }
    Ok(())
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command as one line for messages.
pub(crate) fn line(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_command_is_named_with_its_status() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
    }

    #[test]
    fn missing_program_is_not_found() {
        assert_eq!(find("no-such-program-here"), None);
        assert!(find("sh").is_some());
    }

    #[test]
    fn output_of_a_failed_command_is_in_the_error() {
        let error = text(Command::new("sh").args(["-c", "echo broken >&2; exit 1"])).unwrap_err().to_string();
        assert!(error.contains("broken"), "{error}");
    }
}
