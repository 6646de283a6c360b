//! systemd as the first process of namespaces of its own, with its own units and D-Bus.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::{START, run};
use crate::{cgroup, paths::Scratch, sandbox::Sandbox, wait};

/// Moves itself into cgroups of the name `$0` and becomes systemd in new namespaces, with units from `$1/units`
/// and `$1/run` as its /run.
const START_IT: &str = r#"
for tree in $2 /sys/fs/cgroup/systemd; do
  if [ -d $tree ]; then mkdir -p $tree/$0 && echo $$ >$tree/$0/cgroup.procs || exit 1; fi
done
exec unshare --cgroup --mount --pid --fork --kill-child --uts --ipc --propagation private /bin/sh -c '
  # Credentials of services are mounted by a helper in a namespace of its own.
  mount --make-rshared / && mount -t proc proc /proc && mount --bind "$0/run" /run && mkdir -p /run/dbus || exit 1
  mount -t tmpfs tmpfs /sys/fs/cgroup
  if grep -q name=systemd /proc/self/cgroup; then
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup -o name=systemd,xattr cgroup /sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
  fi
  export container=other SYSTEMD_UNIT_PATH="$0/units"
  exec /lib/systemd/systemd --system --log-target=null --show-status=0' "$1"
"#;

const TARGET: &str = "[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service\n";
/// systemd connects to its bus only when it runs both units.
const SOCKET: &str = "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n";
const DBUS: &str = "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\nAfter=dbus.socket\n[Service]\nExecStart=/usr/bin/dbus-daemon --system --nofork --nopidfile --systemd-activation --address=systemd:\n";

/// A running systemd; ended on drop.
#[derive(Debug)]
pub struct Systemd {
    child: Child,
    scratch: Scratch,
    cgroup: String,
}

impl Systemd {
    /// Starts it inside `sandbox` with one service, `name`, that is not started yet.
    pub fn start(sandbox: &Sandbox, name: &str, command: &[String]) -> Result<Self> {
        let quoted: Vec<String> = command
            .iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        let service = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={}\nRemainAfterExit=yes\n",
            quoted.join(" ")
        );
        Self::start_unit(sandbox, name, &service)
    }

    /// As [`Systemd::start`], the service by its unit file.
    pub fn start_unit(sandbox: &Sandbox, name: &str, service: &str) -> Result<Self> {
        let scratch = Scratch::new("systemd")?;
        let units = scratch.path().join("units");
        std::fs::create_dir_all(&units)?;
        std::fs::create_dir_all(scratch.path().join("run"))?;
        for (file, text) in
            [("basic.target", TARGET), ("dbus.socket", SOCKET), ("dbus.service", DBUS), (name, service)]
        {
            std::fs::write(units.join(file), text)?;
        }
        std::os::unix::fs::symlink("basic.target", units.join("default.target"))?;
        let cgroup = format!("keywitness-systemd-{}", std::process::id());
        let mut start = sandbox.command("/bin/sh");
        start.args(["-c", START_IT, &cgroup]).arg(scratch.path()).arg(cgroup::root()?);
        let child = start.stdin(Stdio::null()).spawn()?;
        let systemd = Self { child, scratch, cgroup };
        let ready = || Ok(systemd.control(&["is-active", "dbus.service"]).is_ok().then_some(()));
        wait::until("systemd", START, ready)?;
        Ok(systemd)
    }

    /// The socket of its D-Bus.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("run/dbus/system_bus_socket")
    }

    /// Runs systemctl in its namespaces.
    pub fn control(&self, arguments: &[&str]) -> Result<String> {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let first = std::fs::read_to_string(children)?;
        let first = first.split_whitespace().next().context("systemd has not started")?.to_owned();
        let mut command = Command::new("nsenter");
        command.args(["--target", &first, "--mount", "--pid", "systemctl"]).args(arguments);
        run(&mut command)
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // --kill-child ends systemd, and with it everything in its pid namespace.
        drop(self.child.kill());
        drop(self.child.wait());
        let roots = cgroup::root().ok().into_iter().chain([PathBuf::from("/sys/fs/cgroup/systemd")]);
        for root in roots.map(|root| root.join(&self.cgroup)).filter(|root| root.is_dir()) {
            let mut find = Command::new("find");
            find.arg(&root).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]).stderr(Stdio::null());
            let removed = wait::until("the cgroups of systemd to become empty", START, || {
                find.status()?;
                Ok((!root.is_dir()).then_some(()))
            });
            if let Err(error) = removed {
                eprintln!("{error:#}");
            }
        }
    }
}
