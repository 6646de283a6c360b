//! Coding agents as their makers ship them to npm: large native programs, most without symbols.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{folder, lock, npm_install, step};
use crate::paths;

/// One agent.
#[derive(Debug, Clone, Copy)]
pub struct Agent {
    /// Its name here.
    pub name: &'static str,
    /// What npm installs: the package for this platform itself where there is one.
    package: &'static str,
    /// Its program, below `node_modules`.
    program: &'static str,
    /// Whether Node runs it.
    is_script: bool,
}

/// The agents, each at a version that was tried; a later one is tried by raising it.
pub const AGENTS: [Agent; 4] = [
    Agent {
        name: "claude",
        package: "@anthropic-ai/claude-code-linux-x64@2.1.330",
        program: "@anthropic-ai/claude-code-linux-x64/claude",
        is_script: false,
    },
    Agent {
        name: "codex",
        package: "codex@npm:@openai/codex@0.169.0-linux-x64",
        program: "codex/vendor/x86_64-unknown-linux-musl/bin/codex",
        is_script: false,
    },
    Agent {
        name: "opencode",
        package: "opencode-linux-x64-baseline@1.18.33",
        program: "opencode-linux-x64-baseline/bin/opencode",
        is_script: false,
    },
    Agent {
        name: "gemini",
        package: "@google/gemini-cli@0.61.0",
        program: "@google/gemini-cli/bundle/gemini.js",
        is_script: true,
    },
];

/// More of them, which only the whole matrix tries.
pub const MORE_AGENTS: [Agent; 3] = [
    Agent {
        name: "copilot",
        package: "@github/copilot-linux-x64@1.0.102",
        program: "@github/copilot-linux-x64/copilot",
        is_script: false,
    },
    Agent {
        name: "qwen",
        package: "@qwen-code/qwen-code@0.15.10",
        program: "@qwen-code/qwen-code/cli.js",
        is_script: true,
    },
    Agent {
        name: "pi",
        package: "@mariozechner/pi-coding-agent@0.73.1",
        program: "@mariozechner/pi-coding-agent/dist/cli.js",
        is_script: true,
    },
];

/// The agent of that name.
pub fn agent(name: &str) -> Result<Agent> {
    AGENTS
        .into_iter()
        .chain(MORE_AGENTS)
        .find(|agent| agent.name == name)
        .with_context(|| format!("no agent is called {name}"))
}

/// Installs [`AGENTS`] unless they are there already: some 1.3 GB.
pub fn agents() -> Result<()> {
    install("agents.stamp", &AGENTS)
}

/// Installs [`MORE_AGENTS`] as well: some 0.5 GB.
pub(super) fn more_agents() -> Result<()> {
    install("more_agents.stamp", &[AGENTS.as_slice(), &MORE_AGENTS].concat())
}

fn install(stamp: &str, agents: &[Agent]) -> Result<()> {
    let to = agents_folder();
    let _lock = lock(&to)?;
    let this = paths::repository().join("tests/src/setup/agents.rs");
    let packages: Vec<&str> = agents.iter().map(|agent| agent.package).collect();
    step(&to.join(stamp), &[this], "coding agents", || npm_install(&to, &packages))
}

impl Agent {
    /// Its version.
    pub fn version(&self) -> &'static str {
        let version = self.package.rsplit('@').next().unwrap_or_default();
        version.split('-').next().unwrap_or_default()
    }

    /// What is started, links resolved or not.
    pub fn program(&self) -> PathBuf {
        agents_folder().join("node_modules").join(self.program)
    }

    /// The executable of its process.
    pub fn exe(&self) -> Result<PathBuf> {
        if self.is_script { paths::on_path("node") } else { Ok(self.program()) }
    }
}

fn agents_folder() -> PathBuf {
    folder().join("agents")
}
