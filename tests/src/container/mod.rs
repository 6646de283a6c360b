//! Containers and units started for real: by containerd through CRI, as a kubelet does, by Docker, and by
//! systemd.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{paths, sandbox::Sandbox};

mod containerd;
mod daemon;
mod docker;
mod systemd;

pub use containerd::{Containerd, PodSpec, RunningPod};
pub use docker::Docker;
pub use systemd::Systemd;

/// Name of the image the tests make; its only program is busybox.
pub const IMAGE: &str = "keywitness.test/base:1";
/// Folders of the host that a container sees, so that it has curl and its libraries.
const SHARED: [&str; 5] = ["/usr", "/bin", "/lib", "/lib64", "/etc/ssl"];
/// Time a runtime has to start.
const START: Duration = Duration::from_secs(30);

/// Makes the image as an archive that `docker load` and `ctr images import` read.
fn image(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("kw"))?;
    std::fs::copy(paths::on_path("busybox")?, root.join("busybox"))?;
    for shared in SHARED {
        std::fs::create_dir_all(root.join(shared.trim_start_matches('/')))?;
    }
    let layer = folder.join("layer.tar");
    tar(&layer, &root, &["."])?;
    let digest = Sha256::digest(std::fs::read(&layer)?);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Entrypoint": ["/busybox", "sleep", "1000000"], "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    std::fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let archive = folder.join("image.tar");
    tar(&archive, folder, &["manifest.json", "config.json", "layer.tar"])?;
    Ok(archive)
}

fn tar(archive: &Path, folder: &Path, what: &[&str]) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .args(["--create", "--owner=0", "--group=0", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(folder);
    run(command.args(what)).map(drop)
}

/// Where a container finds the endpoint's certificate authority.
pub const AUTHORITY: &str = "/kw/ca.pem";

/// A command line that makes one call for `model` with `key`, trusting the file `authority`.
pub fn call(key: &str, model: &str, authority: &str) -> Vec<String> {
    let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
    ["/usr/bin/curl", "--silent", "--show-error", "--fail", "--cacert", authority, "--data", &body]
        .into_iter()
        .map(str::to_owned)
        .chain(["--header".into(), format!("authorization: Bearer {key}")])
        .chain(["https://api.openai.com/v1/chat/completions".into()])
        .collect()
}

/// `command`, once [`allow`] says so: records say what is known when they are made.
pub fn when_allowed(name: &str, command: Vec<String>) -> Vec<String> {
    let script = format!(r#"until [ -e /kw/{name} ]; do /busybox usleep 20000; done; exec "$0" "$@""#);
    ["/busybox", "sh", "-c", &script].into_iter().map(str::to_owned).chain(command).collect()
}

/// Lets the containers of [`when_allowed`] go on.
pub fn allow(name: &str, sandbox: &Sandbox) -> Result<()> {
    std::fs::write(sandbox.dir().join(name), "").context("cannot let a container go on")
}

/// Folders and files that a container needs for [`call`]: host path and path inside.
fn mounts(sandbox: &Sandbox) -> Vec<(String, String)> {
    let shared = SHARED.iter().map(|path| ((*path).to_owned(), (*path).to_owned()));
    let folder = sandbox.dir().display().to_string();
    let hosts = format!("{folder}/hosts");
    shared.chain([(folder, "/kw".into()), (hosts, "/etc/hosts".into())]).collect()
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
