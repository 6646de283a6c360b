//! Which programs are expected to open the credential file of a client.

/// Whether an executable is one to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// It is the client whose file it is.
    Expected,
    /// The file is another client's.
    Unexpected,
    /// Any program may have a use for it, or the executable is not known.
    Unknown,
}

impl Expectation {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Unexpected => "unexpected",
            Self::Unknown => "unknown",
        }
    }
}

/// Owners of files that only their own program has to open, with its names. Libraries and platforms are not
/// here: whoever uses them opens their files.
const PROGRAMS: [(&str, &[&str]); 20] = [
    ("claude-code", &["claude"]),
    ("codex", &["codex"]),
    ("gemini-cli", &["gemini"]),
    ("antigravity", &["antigravity", "agy"]),
    ("github-copilot", &["copilot", "copilot-language-server", "code", "nvim", "vim"]),
    ("copilot-cli", &["copilot"]),
    ("gh", &["gh", "git"]),
    ("opencode", &["opencode"]),
    ("cursor-agent", &["cursor-agent", "cursor"]),
    ("aider", &["aider"]),
    ("qwen-code", &["qwen"]),
    ("grok-cli", &["grok"]),
    ("kimi-code", &["kimi", "kimi-code"]),
    ("amp", &["amp"]),
    ("droid", &["droid"]),
    ("goose", &["goose"]),
    ("pi", &["pi"]),
    ("cline", &["cline", "code"]),
    ("auggie", &["auggie"]),
    ("junie", &["junie"]),
];
/// Programs that run scripts: the script's name counts.
const INTERPRETERS: [&str; 4] = ["node", "bun", "deno", "python"];

/// Whether the program `exe` with `args` is one to open a file of `owner`.
pub fn expectation(owner: &str, exe: &str, args: &[String]) -> Expectation {
    let Some((_, names)) = PROGRAMS.iter().find(|(name, _)| *name == owner) else {
        return Expectation::Unknown;
    };
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let program = file(exe);
    if program.is_empty() {
        return Expectation::Unknown;
    }
    if names.contains(&program.as_str()) {
        return Expectation::Expected;
    }
    // The interpreter alone says nothing; what it was told to run may.
    if INTERPRETERS.iter().any(|interpreter| program.starts_with(interpreter)) {
        let named = |arg: &String| names.iter().any(|name| arg.split(['/', '.']).any(|part| part == *name));
        let named = args.iter().take(3).any(named);
        return if named { Expectation::Expected } else { Expectation::Unknown };
    }
    Expectation::Unexpected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_file_is_for_its_own_program() {
        let is = |owner, exe, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            expectation(owner, exe, &args).as_str()
        };
        assert_eq!(is("codex", "/usr/local/bin/codex", &[]), "expected");
        assert_eq!(is("codex", "/usr/bin/cat", &["cat", "auth.json"]), "unexpected");
        assert_eq!(is("gemini-cli", "/usr/bin/node", &["node", "/usr/bin/gemini"]), "expected");
        assert_eq!(is("gemini-cli", "/usr/bin/node", &["node", "thief.js"]), "unknown");
        assert_eq!(is("app", "/usr/bin/cat", &[]), "unknown");
        assert_eq!(is("codex", "", &[]), "unknown");
    }
}
