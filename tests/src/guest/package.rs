//! The Debian package in a system with systemd: installed, attributing a call, upgraded under load, removed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use proto::v1::Record;

use super::guide::Guide;
use crate::{
    client::{Client, Runtime},
    sandbox::{Network, Sandbox},
    sensor::{calls, fingerprint},
    server::Server,
    wait,
};

const UNIT: &str = "keywitness.service";
/// Where the unit keeps its log and its key.
const STATE: &str = "/var/lib/keywitness";
/// Where the guide puts a fleet key that is given.
const CONFIGURATION: &str = "/etc/keywitness";
const DROP_INS: &str = "/etc/systemd/system/keywitness.service.d";
/// Where packages put files.
const FOLDERS: [&str; 4] = ["/etc", "/opt", "/usr", "/var"];
/// What changes by itself, what apt and dpkg keep of any package, and what systemd makes for any unit with a user made
/// for each run.
const APART: [&str; 8] = [
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/log",
    "/var/lib/systemd/timers",
    "/var/lib/systemd/random-seed",
    "/var/lib/private",
    "/var/tmp",
];
/// Where systemd keeps a collector's files.
const COLLECTED: &str = "/var/lib/private/keywitness-collector";
/// Time the unit has to start or end, and a call to be in the log.
const LIMIT: Duration = Duration::from_secs(30);

/// Everything from the first installation of the packages in `built`, as the guide there says, over the upgrade to
/// `new` to the purge; gives what was seen.
pub(super) fn run(built: &Path, new: &Path) -> Result<Vec<String>> {
    let (files, programs) = (files()?, programs()?);
    let guide = Guide::open(built)?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let server = Server::start(&sandbox)?;
    let mut told = Vec::new();

    guide.run("One host in two minutes")?;
    let first = started()?;
    told.push(format!("installed {}, started: {}", version()?, property("StatusText")?));
    told.push(attributed(&sandbox, &server, "installed", STATE)?);

    let calls = upgraded_under_load(&sandbox, new)?;
    let second = started()?;
    ensure!(first != second, "the upgrade did not start the sensor anew");
    told.push(format!("upgraded to {} during {calls} calls, started again", version()?));
    told.push(attributed(&sandbox, &server, "upgraded", STATE)?);
    keywitness(&["log", "verify"])?;

    let page = guide.run("Metrics")?;
    ensure!(page.contains("keywitness_hook_attached"), "no metrics: {page}");
    std::fs::write(built.join("fleet.key"), format!("kwfk1-{}\n", "5".repeat(64)))?;
    guide.run("One fleet key on several hosts")?;
    started()?;
    told.push(attributed(&sandbox, &server, "given-key", CONFIGURATION)?);
    told.push(collected(&guide, &sandbox, &server)?);

    guide.run("Removing")?;
    // As the guide says, what others added to the unit stays.
    std::fs::remove_dir_all(DROP_INS).with_context(|| format!("cannot remove {DROP_INS}"))?;
    ensure!(!Path::new(COLLECTED).exists(), "after the purge {COLLECTED} is left");
    let left = self::files()?;
    let left = left.difference(&files).filter(|path| !path.starts_with(built));
    let left: Vec<String> = left.map(|path| path.display().to_string()).collect();
    ensure!(left.is_empty(), "after the purge there is left: {}", left.join(", "));
    wait::until("the kernel to free the programs", LIMIT, || {
        Ok((self::programs()? == programs).then_some(()))
    })?;
    told.push("purged: no file and no kernel program is left".to_owned());
    Ok(told)
}

/// Installs `new` while calls are made, and gives how many were.
fn upgraded_under_load(sandbox: &Sandbox, new: &Path) -> Result<usize> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                curl().run(sandbox, None, &curl().key("load"), "load")?;
                calls += 1;
            }
            anyhow::Ok(calls)
        });
        let upgraded = dpkg(&["--install", text(new)?]);
        stop.store(true, Ordering::Relaxed);
        let calls = load.join().map_err(|_| anyhow::anyhow!("the load failed"))?;
        upgraded.and(calls)
    })
}

/// Starts a collector and has the sensor send to it, and finds a call there.
fn collected(guide: &Guide, sandbox: &Sandbox, server: &Server<'_>) -> Result<String> {
    guide.run("A collector for several hosts")?;
    started()?;
    attributed(sandbox, server, "collected", CONFIGURATION)?;
    wait::until("the call at the collector", LIMIT, || {
        Ok(guide.run("Questions to the collector")?.contains("collected").then_some(()))
    })?;
    Ok("the collector was installed and has the call that was made after".to_owned())
}

/// Makes one call and finds it in the log with everything right, the key's fingerprint by the fleet key in that folder.
fn attributed(sandbox: &Sandbox, server: &Server<'_>, model: &str, fleet_key: &str) -> Result<String> {
    let client = curl();
    let key = client.key(model);
    let finished = client.run(sandbox, None, &key, model)?;
    let call = wait::until("the call in the log", LIMIT, || {
        let output = keywitness(&["observe", "--all", "-o", "json"])?;
        let records: Vec<Record> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(calls(&records).find(|call| call.model_requested == model).cloned())
    })?;
    let truth = server.truth()?.into_iter().find(|truth| truth.model.as_deref() == Some(model));
    let truth = truth.context("the endpoint saw no such call")?;
    let process = call.process.clone().unwrap_or_default();
    let credential = call.credential.clone().unwrap_or_default();
    let tokens = call.tokens.clone().unwrap_or_default();
    let provider = call.endpoint.clone().unwrap_or_default().provider;
    ensure!(process.pid == finished.pid && Path::new(&process.exe) == finished.exe, "{process:?}");
    ensure!(credential.fingerprint == fingerprint(Path::new(fleet_key), &key)?, "{credential:?}");
    ensure!(provider == "openai" && call.request_id == truth.request_id, "{call:?}");
    ensure!((tokens.input, tokens.output) == (truth.input_tokens, truth.output_tokens), "{tokens:?}");
    ensure!(call.binding == "client_random", "{call:?}");
    Ok(format!("{model}: a call of curl has its process, key, provider, request and tokens"))
}

const fn curl() -> Client {
    Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" }
}

/// Waits until the unit runs and gives its process id.
fn started() -> Result<String> {
    wait::until("the unit", LIMIT, || Ok((property("ActiveState")? == "active").then_some(())))?;
    property("MainPID")
}

fn property(name: &str) -> Result<String> {
    output("systemctl", &["show", "--property", name, "--value", UNIT])
}

fn version() -> Result<String> {
    output("dpkg-query", &["--show", "--showformat=${Version}", "keywitness"])
}

fn dpkg(arguments: &[&str]) -> Result<()> {
    output("dpkg", arguments).map(drop)
}

/// The installed executable.
fn keywitness(arguments: &[&str]) -> Result<String> {
    output("/usr/bin/keywitness", arguments)
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} ended with {}: {error}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// Names of the programs in the kernel.
fn programs() -> Result<Vec<String>> {
    let shown: Vec<serde_json::Value> =
        serde_json::from_str(&output("bpftool", &["--json", "prog", "show"])?)?;
    let names = shown.iter().filter_map(|program| program["name"].as_str());
    // systemd has programs of its own for units that come and go.
    Ok(names.filter(|name| name.starts_with("kw_")).map(str::to_owned).collect())
}

/// Every file and folder where packages put some.
fn files() -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<PathBuf> = FOLDERS.map(PathBuf::from).into();
    while let Some(folder) = open.pop() {
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let entry = entry?;
            let path = entry.path();
            if APART.iter().any(|apart| path.starts_with(apart)) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    Ok(found)
}
