//! Docker's engine, told by its own client what to run.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{IMAGE, daemon::Daemon, image, mounts, run};
use crate::{paths::Scratch, sandbox::Sandbox};

/// A Docker engine of the test's own.
#[derive(Debug)]
pub struct Docker {
    daemon: Option<Daemon>,
    scratch: Scratch,
}

impl Docker {
    /// Starts it, without a network of its own, with the tests' image.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("docker")?;
        let mut command = Command::new("dockerd");
        let at = |name: &str| scratch.path().join(name);
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]);
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        command.arg("--pidfile").arg(at("pid")).arg(format!("--host=unix://{}", at("docker.sock").display()));
        let socket = at("docker.sock");
        let ready = || client(&socket).arg("version").output().is_ok_and(|output| output.status.success());
        let daemon = Daemon::start(command, &at("dockerd.log"), ready)?;
        let archive = image(scratch.path())?;
        run(client(&socket).args(["load", "--input"]).arg(archive))?;
        Ok(Self { daemon: Some(daemon), scratch })
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("docker.sock")
    }

    /// Runs `command` in a container on the host's network and gives its id.
    pub fn run(&self, name: &str, sandbox: &Sandbox, command: &[String]) -> Result<String> {
        let mut docker = client(&self.socket());
        docker.args(["run", "--detach", "--network=host", "--name", name, "--label", "team=research"]);
        for (host, inside) in mounts(sandbox) {
            docker.arg("--volume").arg(format!("{host}:{inside}:ro"));
        }
        let (program, arguments) =
            command.split_first().map_or(("", command), |(first, rest)| (first.as_str(), rest));
        run(docker.args(["--entrypoint", program, IMAGE]).args(arguments))
    }

    /// Stops and forgets a container.
    pub fn remove(&self, name: &str) -> Result<()> {
        run(client(&self.socket()).args(["rm", "--force", name])).map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Ended before its folders go. It leaves the network namespace of the host mounted.
        self.daemon = None;
        let namespace = self.scratch.path().join("exec/netns/default");
        if namespace.exists()
            && let Err(error) = run(Command::new("umount").arg(&namespace))
        {
            eprintln!("{error:#}");
        }
    }
}

fn client(socket: &std::path::Path) -> Command {
    // Not a wrapper that may come first in PATH.
    let installed = std::path::Path::new("/usr/bin/docker");
    let mut command = Command::new(if installed.exists() { installed } else { "docker".as_ref() });
    command.arg("--host").arg(format!("unix://{}", socket.display()));
    command
}
