//! The endpoint as a child process.

use std::{
    net::SocketAddr,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Protection, READY_FILE, Ready, TRUTH_FILE, Truth, read_log};
use crate::{paths, sandbox::Sandbox, wait};

/// Time the server has to start.
const START: Duration = Duration::from_secs(20);
/// Port of the standard URLs.
const HTTPS: u16 = 443;
/// Cleartext port.
const HTTP: u16 = 80;

/// A running `model-server` on the sandbox's address, ports 443 and 80; ended on drop.
#[derive(Debug)]
pub struct Server<'a> {
    sandbox: &'a Sandbox,
    child: Child,
}

impl<'a> Server<'a> {
    /// Starts it inside `sandbox` and waits until it accepts connections.
    pub fn start(sandbox: &'a Sandbox) -> Result<Self> {
        Self::start_with(sandbox, Protection::Any)
    }

    /// The same with TLS connections that are protected in one way only.
    pub fn start_with(sandbox: &'a Sandbox, protection: Protection) -> Result<Self> {
        let [tls, clear] = [HTTPS, HTTP].map(|port| SocketAddr::new(sandbox.address(), port).to_string());
        let mut command = sandbox.command(paths::binary("model-server")?);
        command.args(["--listen", &tls, "--cleartext", &clear, "--protection", &protection.name()]);
        command.args(["--with-parent", "--dir"]).arg(sandbox.dir());
        let child = command.stdin(Stdio::piped()).spawn().context("cannot start model-server")?;
        let mut server = Self { sandbox, child };
        let file = sandbox.dir().join(READY_FILE);
        wait::until("the model server", START, || {
            if let Some(status) = server.child.try_wait()? {
                bail!("the model server ended early: {status}");
            }
            let Ok(text) = std::fs::read(&file) else { return Ok(None) };
            let ready: Ready = serde_json::from_slice(&text)?;
            Ok((ready.pid == server.child.id()).then_some(()))
        })?;
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All requests it received so far, oldest first.
    pub fn truth(&self) -> Result<Vec<Truth>> {
        read_log(&self.sandbox.dir().join(TRUTH_FILE))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
