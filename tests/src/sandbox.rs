//! A mount namespace in which the providers' names lead to a local address.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::{Context, Result, bail};

use crate::{
    cgroup::Cgroup,
    paths::Scratch,
    server::{CA_FILE, HOSTS},
};

/// Environment variables by which clients find an extra certificate authority.
const CA_VARIABLES: [&str; 4] =
    ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"];

/// Binds the hosts file over the real one in this namespace only, then waits for the parent to go.
const HOLD: &str = r#"mount --bind "$0" /etc/hosts && { [ "$1" = shared ] || ip link set lo up; } && echo ready && exec cat"#;

/// The network of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// That of the host.
    Shared,
    /// A new one with only the loopback device.
    Private,
}

/// Namespaces for server and clients; gone when dropped, or when this process is.
#[derive(Debug)]
pub struct Sandbox {
    scratch: Scratch,
    address: IpAddr,
    network: Network,
    holder: Child,
}

impl Sandbox {
    /// A sandbox with a loopback address of its own.
    pub fn new(network: Network) -> Result<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        // Eight addresses for each process id, in 127.64.0.0/10.
        let number = std::process::id() << 3 | u32::from(NEXT.fetch_add(1, Ordering::Relaxed) & 7);
        let [_, a, b, c] = number.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, 64 | (a & 0x3f), b, c));

        let scratch = Scratch::new("sandbox")?;
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for host in HOSTS {
            writeln!(hosts, "{address} {host}")?;
        }
        let hosts_file = scratch.path().join("hosts");
        std::fs::write(&hosts_file, hosts)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        if network == Network::Private {
            command.arg("--net");
        }
        command.args(["/bin/sh", "-c", HOLD]).arg(hosts_file);
        command.arg(if network == Network::Private { "private" } else { "shared" });
        let mut holder = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare: install util-linux")?;
        let mut line = String::new();
        if let Some(output) = holder.stdout.as_mut() {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line != "ready\n" {
            drop(holder.kill());
            holder.wait()?;
            bail!("cannot make the test namespaces: run as root, with iproute2 installed");
        }
        Ok(Self { scratch, address, network, holder })
    }

    /// The loopback address the providers' names lead to.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// A folder that lives as long as the sandbox.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A command inside the namespaces. The child's process id is that of `program` itself.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.enter();
        command.arg(program.as_ref());
        command
    }

    /// As [`Sandbox::command`], moved to `cgroup` before `program` starts.
    pub fn command_in(&self, cgroup: &Cgroup, program: impl AsRef<Path>) -> Command {
        let mut command = self.enter();
        command
            .args(["/bin/sh", "-c", r#"echo $$ >"$0" && exec "$@""#])
            .arg(cgroup.procs())
            .arg(program.as_ref());
        command
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if self.network == Network::Private {
            command.arg("--net");
        }
        command.arg("--").env_clear().stdin(Stdio::null());
        let kept = ["PATH", "LANG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(kept).env("HOME", self.dir());
        command.envs(CA_VARIABLES.map(|name| (name, self.dir().join(CA_FILE))));
        command
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
