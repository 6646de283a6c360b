//! Which known agent a process runs, by its executable and arguments.

use std::sync::Arc;

use crate::endpoint::entry::{ClientEntry, ProgramEntry};

/// Interpreters take options before the script; this many arguments are looked at.
const MAX_OPTIONS: usize = 16;

/// Options of Python and node that stand in place of a script.
const NO_SCRIPT: [&str; 6] = ["-c", "-m", "-e", "--eval", "-p", "--print"];

/// The agents of the catalogue.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    agents: Vec<(Arc<str>, Vec<ProgramEntry>)>,
}

impl Agents {
    /// The clients of a catalogue that are agents.
    pub fn new(clients: &[ClientEntry]) -> Self {
        let agents = clients.iter().filter(|client| !client.programs.is_empty());
        Self { agents: agents.map(|client| (client.id.as_str().into(), client.programs.clone())).collect() }
    }

    /// The agent that a process with this executable and these arguments (the program's own name first) is.
    pub fn find(&self, exe: &str, args: &[String]) -> Option<Arc<str>> {
        let exe = plain(exe.strip_suffix(" (deleted)").unwrap_or(exe));
        let found = self.agents.iter().find(|(_, programs)| programs.iter().any(|one| one.fits(&exe, args)));
        found.map(|(id, _)| id.clone())
    }
}

/// The path as its maker means it: npm packages name the program for every system alike, and hide the copy that their
/// script starts.
fn plain(exe: &str) -> String {
    let exe = exe.strip_suffix(".exe").unwrap_or(exe);
    let (folder, name) = exe.rsplit_once('/').unwrap_or(("", exe));
    format!("{folder}/{}", name.strip_prefix('.').unwrap_or(name))
}

impl ProgramEntry {
    fn fits(&self, exe: &str, args: &[String]) -> bool {
        let args = args.get(1..).unwrap_or_default();
        path_fits(&self.exe, exe)
            && self
                .script
                .as_deref()
                .is_none_or(|wanted| script(args).is_some_and(|at| path_fits(wanted, at)))
            && self.module.as_deref().is_none_or(|wanted| module(args) == Some(wanted))
            && (self.first.is_empty()
                || self.first.iter().any(|one| args.first().map_or("", String::as_str) == one))
    }
}

/// Whether the last parts of `path` are `pattern`, part by part; a `*` at the end of a part stands for any end.
fn path_fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.rsplit('/');
    pattern.rsplit('/').all(|wanted| match (parts.next(), wanted.strip_suffix('*')) {
        (Some(part), Some(start)) => part.starts_with(start) && !part.is_empty(),
        (Some(part), None) => part == wanted,
        (None, _) => false,
    })
}

/// The script that an interpreter runs: its first argument that is no option.
fn script(args: &[String]) -> Option<&str> {
    let mut first = args.iter().take(MAX_OPTIONS).map(String::as_str);
    first.find(|arg| !arg.starts_with('-') || NO_SCRIPT.contains(arg)).filter(|arg| !arg.starts_with('-'))
}

/// The module that Python runs: what follows `-m`, when only options stand before it.
fn module(args: &[String]) -> Option<&str> {
    let at = args.iter().take(MAX_OPTIONS).position(|arg| arg == "-m" || !arg.starts_with('-'))?;
    args.get(at).filter(|arg| *arg == "-m")?;
    args.get(at + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use crate::endpoint::Catalogue;

    #[test]
    fn agents_are_known_however_they_are_installed() {
        let catalogue = Catalogue::built_in().unwrap();
        let find = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let (exe, args) = words.split_first().unwrap();
            catalogue.agents().find(exe, args).map(|agent| agent.to_string())
        };
        for (line, agent) in [
            ("/home/u/.local/share/claude/versions/2.1.9 claude -p", "claude-code"),
            ("/usr/bin/claude claude", "claude-code"),
            ("/usr/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe claude -p", "claude-code"),
            ("/usr/lib/node_modules/cline/bin/.cline cline task", "cline"),
            ("/usr/bin/node node /usr/bin/qwen -p", "qwen-code"),
            ("/usr/lib/node_modules/@sourcegraph/amp/node_modules/@ampcode/cli/bin/amp.exe amp", "amp"),
            ("/usr/lib/node_modules/@kilocode/cli-linux-x64/bin/kilo kilo run", "kilo"),
            ("/usr/bin/node node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js", "claude-code"),
            ("/usr/bin/node node --no-warnings --enable-source-maps /usr/local/bin/claude", "claude-code"),
            ("/usr/bin/node node /usr/lib/node_modules/@openai/codex/bin/codex.js exec", "codex"),
            ("/opt/codex/codex-x86_64-unknown-linux-musl codex", "codex"),
            ("/usr/bin/node node /usr/local/bin/gemini", "gemini-cli"),
            ("/usr/bin/opencode opencode run", "opencode"),
            ("/usr/bin/node node /usr/lib/node_modules/@github/copilot/index.js", "copilot-cli"),
            (
                "/home/u/.local/share/cursor-agent/versions/2026.1/node node --use-system-ca /home/u/.local/share/cursor-agent/versions/2026.1/index.js",
                "cursor-agent",
            ),
            ("/usr/bin/python3.13 python3 -m aider --yes", "aider"),
            ("/usr/bin/python3.13 python3 /home/u/.local/bin/aider", "aider"),
            ("/usr/bin/goose goose session", "goose"),
        ] {
            assert_eq!(find(line).unwrap_or_default(), agent, "{line}");
        }
        for line in [
            "/usr/bin/node node server.js claude",
            "/usr/bin/node node /srv/app/cli.js",
            "/usr/bin/goose goose up",
            "/usr/bin/kilo kilo notes.txt",
            "/usr/bin/amp amp notes.txt",
            "/usr/bin/python3 python3 run.py -m aider",
            "/usr/bin/python3 python3 -c aider",
            "/usr/bin/vim vim /usr/local/bin/codex",
            "/usr/bin/claudette claudette",
            "/usr/bin/curl curl",
            "/usr/bin/node node",
            "",
        ] {
            assert_eq!(find(line), None, "{line}");
        }
        let deleted = catalogue.agents().find("/usr/bin/codex (deleted)", &["codex".to_owned()]);
        assert_eq!(deleted.as_deref(), Some("codex"));
    }
}
