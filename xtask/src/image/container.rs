//! The images, run as a container runtime runs them: by runc, with a root that cannot be written and no more rights than
//! the chart asks for.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Image;
use crate::shell::{find, say};
use crate::stop::Group;

const RUNC: &str = "runc";
/// As in the chart.
const CAPABILITIES: [&str; 4] = ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"];
/// What the collector prints when it listens to sensors.
const LISTENS: &str = "sensors: https://";

/// Has the sensor try its hooks, or the collector start and stop; needs root and runc.
pub(super) fn try_out(image: &Image, folder: &Path) -> Result<()> {
    if find(RUNC).is_none() {
        say(format_args!("{} is not tried out: runc is not installed", image.name));
        return Ok(());
    }
    let bundle = folder.join("bundle");
    super::make(&bundle)?;
    let sensor = image.user.is_empty();
    let arguments = if sensor { &["doctor", "--json"] } else { image.arguments };
    let config = bundle.join("config.json");
    fs::write(&config, specification(image, &folder.join("root"), arguments).to_string())
        .with_context(|| format!("cannot write {}", config.display()))?;
    let mut runc = Command::new(RUNC);
    runc.args(["run", "--bundle"]).arg(&bundle).arg(format!("{}-{}", image.name, std::process::id()));
    runc.stdin(Stdio::null()).stdout(Stdio::piped());
    let told = if sensor { doctor(&mut runc) } else { serve(&mut runc) }?;
    say(format_args!("{} in a container: {told}", image.name));
    Ok(())
}

/// What works of the sensor there.
fn doctor(runc: &mut Command) -> Result<String> {
    let output = runc.output().context("cannot start runc")?;
    let told: Value = serde_json::from_slice(&output.stdout).context("the sensor's doctor said nothing")?;
    let hooks = told["hooks"].as_array().context("the doctor names no hooks")?;
    let works = hooks.iter().filter(|hook| hook["state"] == "ok").count();
    ensure!(works > 0 && told["state"] != "unusable", "the sensor does not work in a container: {told}");
    Ok(format!("{works} of {} hooks", hooks.len()))
}

/// Starts the collector, waits until it listens, and stops it.
fn serve(runc: &mut Command) -> Result<String> {
    let mut group = Group::start(RUNC, runc)?;
    let lines = BufReader::new(group.take_stdout().context("no output")?).lines();
    let Some(line) = lines.map_while(Result::ok).find(|line| line.starts_with(LISTENS)) else {
        bail!("the collector does not start in a container");
    };
    let status = group.stop()?;
    ensure!(status.success(), "the collector ended with {status} in a container");
    Ok(line)
}

/// The runtime specification of a container (OCI runtime-spec 1.0).
fn specification(image: &Image, root: &Path, arguments: &[&str]) -> Value {
    let sensor = image.user.is_empty();
    let id: u32 = image.user.split(':').next().and_then(|id| id.parse().ok()).unwrap_or_default();
    let mut args = vec![format!("/usr/bin/{}", image.name)];
    args.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let capabilities: &[&str] = if sensor { &CAPABILITIES } else { &[] };
    let owned = format!("mode=700,uid={id},gid={id}");
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}),
        json!({"destination": format!("/var/lib/{}", image.name), "type": "tmpfs", "source": "tmpfs", "options": [owned]}),
    ];
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "ipc"}), json!({"type": "uts"})];
    if sensor {
        // As `hostPID` and the mounts of the chart.
        let options = ["rbind", "ro"];
        mounts.push(json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": options}));
    } else {
        namespaces.extend([json!({"type": "pid"}), json!({"type": "network"})]);
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": id, "gid": id},
            "args": args,
            "cwd": "/",
            "env": ["PATH=/usr/bin"],
            "noNewPrivileges": true,
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "root": {"path": root, "readonly": true},
        "hostname": "container",
        "mounts": mounts,
        "linux": {"namespaces": namespaces},
    })
}
