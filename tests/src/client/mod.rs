//! The real clients, each as (program, script, mode), and running them in a sandbox.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

mod list;

pub use list::all;

use crate::{cgroup::Cgroup, keys, paths, sandbox::Sandbox, server::CA_FILE, setup};

/// Text in every prompt; no record may hold it.
pub const PROMPT: &str = "PROMPT-CANARY-51c9";

/// git's helper for HTTPS on Debian.
const GIT_HELPER: &str = "/usr/lib/git-core/git-remote-https";

/// What runs a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// The virtual environment's interpreter.
    Python,
    /// The interpreter with the packages of only the whole matrix.
    MorePython,
    /// Node from `PATH`.
    Node,
    /// A shell that becomes curl.
    Curl,
    /// Bun, from npm.
    Bun,
    /// Deno, from npm.
    Deno,
    /// A stripped Go program.
    Go,
    /// A shell that becomes wget.
    Wget,
    /// A stripped Rust program with rustls and ring.
    Ring,
    /// The same with AWS-LC.
    AwsLc,
    /// The same, told that the processor has no VAES.
    AwsLcWithoutVaes,
    /// A shell that starts git's helper for HTTPS.
    Git,
    /// Java from `PATH`, which compiles its script.
    Java,
    /// A compiled program of [`setup::stacks_folder`], by its path.
    Built(&'static str),
    /// A shell that becomes a coding agent, by its name in [`setup::AGENTS`].
    Agent(&'static str),
}

/// One way to call a model.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// What runs it.
    pub runtime: Runtime,
    /// File below `tests/clients`.
    pub script: &'static str,
    /// Its last argument.
    pub mode: &'static str,
    /// Provider called, by its name in records.
    pub provider: &'static str,
}

/// A finished client.
#[derive(Debug)]
pub struct Finished {
    /// Process id of the caller: the one that it printed, or its own.
    pub pid: u32,
    /// Its executable, links resolved.
    pub exe: PathBuf,
    /// Exit status and output.
    pub output: Output,
}

impl Runtime {
    /// The program to start.
    pub fn program(self) -> Result<PathBuf> {
        match self {
            Self::Python if setup::python().is_file() => Ok(setup::python()),
            Self::Python => bail!("the test clients are not installed: run `cargo xtask setup`"),
            Self::MorePython => Ok(setup::more_python()),
            Self::Node => paths::on_path("node"),
            Self::Curl | Self::Wget | Self::Git | Self::Agent(_) => Ok("/bin/sh".into()),
            Self::Java => paths::on_path("java"),
            Self::Built(path) => Ok(setup::stacks_folder().join(path)),
            Self::Bun => Ok(setup::bun()),
            Self::Deno => Ok(setup::deno()),
            Self::Go => Ok(setup::go_call()),
            Self::Ring => Ok(setup::rustls_call("ring_call")),
            Self::AwsLc | Self::AwsLcWithoutVaes => Ok(setup::rustls_call("aws_lc_call")),
        }
    }

    /// Whether the program needs no script.
    fn is_compiled(self) -> bool {
        matches!(self, Self::Go | Self::Ring | Self::AwsLc | Self::AwsLcWithoutVaes | Self::Built(_))
    }

    /// The executable the calling process has, links resolved.
    pub fn exe(self) -> Result<PathBuf> {
        let program = match self {
            Self::Curl => paths::on_path("curl")?,
            Self::Wget => paths::on_path("wget")?,
            Self::Git => GIT_HELPER.into(),
            Self::Agent(name) => setup::agent(name)?.exe()?,
            _ => self.program()?,
        };
        Ok(program.canonicalize()?)
    }
}

impl Client {
    /// Script and mode in one word.
    pub fn name(&self) -> String {
        format!("{}:{}", self.script, self.mode)
    }

    /// A dummy key of the provider's shape, always the same for `seed`.
    pub fn key(&self, seed: &str) -> String {
        match self.provider {
            "anthropic" => keys::anthropic(seed),
            "gcp.gemini" => keys::gemini(seed),
            "aws.bedrock" => keys::bedrock(seed),
            "x_ai" => keys::xai(seed),
            _ => keys::openai(seed),
        }
    }

    /// Makes its call; an exit status other than 0 is an error with the client's own words.
    pub fn run(
        &self,
        sandbox: &Sandbox,
        cgroup: Option<&Cgroup>,
        key: &str,
        model: &str,
    ) -> Result<Finished> {
        let mut command = script(self.runtime, self.script, sandbox, cgroup)?;
        command.args([key, model, self.mode]);
        finish(command, self.runtime).with_context(|| self.name())
    }
}

/// A command that runs a script of `tests/clients` in the sandbox, without its arguments.
pub fn script(runtime: Runtime, script: &str, sandbox: &Sandbox, cgroup: Option<&Cgroup>) -> Result<Command> {
    let program = runtime.program()?;
    let mut command = match cgroup {
        Some(cgroup) => sandbox.command_in(cgroup, program),
        None => sandbox.command(program),
    };
    if runtime == Runtime::Deno {
        command.env("DENO_CERT", sandbox.dir().join(CA_FILE)).args(["run", "--allow-net", "--allow-read"]);
    }
    if runtime == Runtime::AwsLcWithoutVaes {
        // VAES and VPCLMULQDQ (crypto/fipsmodule/cpucap/cpu_intel.c).
        command.env("OPENSSL_ia32cap", "~0x0:~0x60000000000");
    }
    if let Runtime::Agent(name) = runtime {
        command.env("AGENT", setup::agent(name)?.program());
    }
    if !runtime.is_compiled() {
        command.arg(paths::repository().join("tests/clients").join(script));
    }
    command.env("NODE_PATH", setup::folder().join("node_modules")).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Runs `command` to its end.
pub fn finish(mut command: Command, runtime: Runtime) -> Result<Finished> {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = child.id();
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the client ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8_lossy(&output.stdout).lines().next().and_then(|line| line.parse().ok());
    Ok(Finished { pid: printed.unwrap_or(pid), exe: runtime.exe()?, output })
}

/// Runs `many_async.py`, `many_node.js` or what has its arguments: one connection for each of `keys`, `rounds` requests on each.
pub fn many(
    runtime: Runtime,
    name: &str,
    stack: &str,
    rounds: u32,
    keys: &[String],
    sandbox: &Sandbox,
    cgroup: Option<&Cgroup>,
) -> Result<Finished> {
    let list = sandbox.dir().join("keys");
    std::fs::write(&list, keys.join("\n"))?;
    let mut command = script(runtime, name, sandbox, cgroup)?;
    command.args([stack, &rounds.to_string()]).stdin(std::fs::File::open(&list)?);
    finish(command, runtime).with_context(|| format!("{name} {stack}"))
}
