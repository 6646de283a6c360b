//! Commands of docs/deploy.md, run as they are written there.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Where the guide is in a checkout.
const GUIDE: &str = "docs/deploy.md";
/// What a minimal system has not: its only user is root, and its only host is itself.
const SHIMS: [(&str, &str); 2] =
    [("sudo", "#!/bin/sh\nexec \"$@\"\n"), ("scp", "#!/bin/sh\nexec cp -r \"${2#*:}\" \"$3\"\n")];
/// Begins a command that was run already, where the checkout is.
const ELSEWHERE: &str = "cargo ";
/// Ends a command that goes on until it is interrupted, and how long it may.
const ENDLESS: (&str, &str) = (" -f", "20");

/// Exit status of what SIGINT ended, by timeout(1).
const INTERRUPTED: i32 = 130;

/// The guide in a folder that is like a checkout after `cargo xtask deb`.
pub(super) struct Guide {
    folder: PathBuf,
    text: String,
}

impl Guide {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(GUIDE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let programs = folder.join("bin");
        fs::create_dir_all(&programs)?;
        for (name, script) in SHIMS {
            let path = programs.join(name);
            fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { folder: folder.to_owned(), text })
    }

    /// Runs all commands of a section, and gives what the last of them printed.
    pub(super) fn run(&self, section: &str) -> Result<String> {
        let commands = commands(&self.text, section);
        ensure!(!commands.is_empty(), "{GUIDE} has no commands below `{section}`");
        let mut told = String::new();
        for command in commands.iter().filter(|command| !command.starts_with(ELSEWHERE)) {
            told = self.one(command).with_context(|| format!("{GUIDE}, `{section}`: {command}"))?;
        }
        Ok(told)
    }

    fn one(&self, command: &str) -> Result<String> {
        let endless = command.ends_with(ENDLESS.0);
        let mut shell = match endless {
            true => {
                let mut timeout = Command::new("timeout");
                timeout.args(["--preserve-status", "--signal", "INT", "--kill-after", "10", ENDLESS.1, "sh"]);
                timeout
            }
            false => Command::new("sh"),
        };
        let path = std::env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        let output = shell.args(["-ec", command]).current_dir(&self.folder).output()?;
        let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        let interrupted = endless && output.status.code() == Some(INTERRUPTED);
        ensure!(output.status.success() || interrupted, "ended with {}: {out}{error}", output.status);
        Ok(out.into_owned())
    }
}

/// The commands of a section's shell blocks, each of one line.
fn commands<'a>(text: &'a str, section: &str) -> Vec<&'a str> {
    let (mut inside, mut shell, mut commands) = (false, false, Vec::new());
    for line in text.lines() {
        match line {
            "```sh" => shell = true,
            "```" => shell = false,
            _ if shell && inside => commands.push(line),
            _ if !shell && line.starts_with('#') => inside = line.trim_start_matches(['#', ' ']) == section,
            _ => {}
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_one_section() {
        let text = "# A\n```sh\na -f\n# no heading\n```\ntext\n```toml\nb = 1\n```\n## B\n```sh\nc\n```\n";
        assert_eq!(commands(text, "A"), ["a -f", "# no heading"]);
        assert_eq!(commands(text, "B"), ["c"]);
        assert!(commands(text, "C").is_empty());
    }
}
