//! Starting, refusing to start, and leaving nothing behind.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    client::{Client, Runtime},
    paths::{self, Scratch},
    sandbox::{Network, Sandbox},
    sensor::{self, Sensor, calls},
    server::Server,
    wait,
};
use proto::v1::Record;
use rustix::process::Signal;

/// Time the kernel has to free what a process held.
const FREE: Duration = Duration::from_secs(20);

/// Time the sensor has to find out that it cannot start.
const REFUSAL: Duration = Duration::from_secs(20);

/// Every program, map, link and cgroup attachment in the kernel.
fn kernel_objects() -> Result<BTreeSet<String>> {
    let tool =
        ["/usr/sbin/bpftool", "/sbin/bpftool"].into_iter().find(|path| std::path::Path::new(path).is_file());
    let tool = tool.context("bpftool is not installed: run `cargo xtask setup`")?;
    let mut found = BTreeSet::new();
    for kind in ["prog", "map", "link"] {
        let output = Command::new(tool).args(["--json", kind, "show"]).output()?;
        ensure!(output.status.success(), "bpftool {kind}: {}", String::from_utf8_lossy(&output.stderr));
        let objects: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
        found.extend(objects.iter().map(|object| format!("{kind} {} {}", object["id"], object["name"])));
    }
    Ok(found)
}

#[test]
fn a_stopped_sensor_leaves_nothing_in_the_kernel() -> Result<()> {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let alone = sensor::alone()?;
        let before = kernel_objects()?;
        let mut sensor = Sensor::start_by(alone.try_clone()?, &[])?;
        let during: Vec<String> = kernel_objects()?.difference(&before).cloned().collect();
        ensure!(during.iter().any(|object| object.starts_with("prog")), "no program was loaded: {during:?}");
        let sandbox = Sandbox::new(Network::Shared)?;
        let _server = Server::start(&sandbox)?;
        let client =
            Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
        client.run(&sandbox, None, &client.key("lifecycle"), "lifecycle")?;
        let seen = |records: &[_]| calls(records).any(|call| call.model_requested == "lifecycle");
        sensor.wait_for("the call", FREE, seen)?;
        let stopped = sensor.stop_by(signal)?;
        if signal != Signal::KILL {
            ensure!(stopped.status.code() == Some(0), "ended with {}", stopped.status);
            stopped.last_status()?;
        }
        let mut left = Vec::new();
        let freed = wait::until("the kernel to free everything", FREE, || {
            left = kernel_objects()?.difference(&before).cloned().collect();
            Ok(left.is_empty().then_some(()))
        });
        freed.with_context(|| format!("after {signal:?} there is left: {left:?}"))?;
        drop(alone);
    }
    Ok(())
}

/// Runs the sensor, which must refuse with exit code 2 and say all of `words`.
fn refuses(mut command: Command, words: &[&str]) -> Result<()> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ended = wait::until("the refusal", REFUSAL, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&stderr).to_lowercase();
    ensure!(status.code() == Some(2), "{command:?} ended with {status}: {text}");
    ensure!(stdout.is_empty(), "records are on standard output: {}", String::from_utf8_lossy(&stdout));
    for word in words {
        ensure!(text.contains(word), "the message does not say {word:?}: {text}");
    }
    Ok(())
}

#[test]
fn a_bad_configuration_is_refused_by_name() -> Result<()> {
    for (text, words) in [
        ("no_such_setting = 1\n", ["no_such_setting", "config.toml"]),
        ("output = 7\n", ["output", "config.toml"]),
        ("output = [\n", ["line 1", "config.toml"]),
    ] {
        let scratch = Scratch::new("config")?;
        let file = scratch.path().join("config.toml");
        std::fs::write(&file, text)?;
        let mut command = sensor::command("run", &scratch.path().join("state"))?;
        command.arg("--config").arg(file);
        refuses(command, &words)?;
    }
    Ok(())
}

#[test]
fn a_key_file_that_others_can_read_is_refused() -> Result<()> {
    let scratch = Scratch::new("key")?;
    let state = scratch.path().join("state");
    let mut first = sensor::command("fingerprint", &state)?;
    let secret = scratch.path().join("secret");
    std::fs::write(&secret, "sk-of-nobody")?;
    ensure!(
        first.stdin(std::fs::File::open(&secret)?).output()?.status.success(),
        "the fleet key was not created"
    );
    for entry in std::fs::read_dir(&state)? {
        let path = entry?.path();
        ensure!(
            path.metadata()?.permissions().mode().trailing_zeros() >= 6,
            "{} is readable by others",
            path.display()
        );
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644))?;
    }
    refuses(sensor::command("run", &state)?, &["chmod"])
}

#[test]
fn without_privileges_the_message_says_what_to_do() -> Result<()> {
    let scratch = Scratch::new("user")?;
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o777))?;
    // The built program may lie where other users cannot reach it.
    let copy = scratch.path().join("keywitness");
    std::fs::copy(paths::keywitness()?, &copy)?;
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]);
    command.arg(copy).args(["run", "--state-dir"]).arg(scratch.path().join("state"));
    refuses(command, &["root"])
}

/// The sensor in a mount namespace in which `script` ran before.
fn after(script: &str, scratch: &Scratch) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "/bin/sh",
        "-c",
        &format!(r#"{script} && exec "$0" "$@""#),
    ]);
    command.arg(paths::keywitness()?).args(["run", "--state-dir"]).arg(scratch.path().join("state"));
    Ok(command)
}

#[test]
fn without_type_information_the_message_says_so() -> Result<()> {
    let scratch = Scratch::new("btf")?;
    refuses(after("mount -t tmpfs none /sys/kernel/btf", &scratch)?, &["btf"])
}

#[test]
fn without_cgroup2_the_message_says_so() -> Result<()> {
    let scratch = Scratch::new("cgroup2")?;
    let root = keywitness_tests::cgroup::root()?;
    refuses(after(&format!("umount -l {}", root.display()), &scratch)?, &["cgroup2"])
}

/// Hooks that the sensor can do without.
const OPTIONAL: [&str; 8] = [
    "kw_connect6",
    "kw_sendmsg4",
    "kw_sendmsg6",
    "kw_destroy",
    "kw_ingress",
    "kw_tls_enter",
    "kw_go_enter",
    "credential_file",
];

#[test]
fn without_optional_hooks_it_sees_less_and_says_what() -> Result<()> {
    let scratch = Scratch::new("hooks")?;
    let config = scratch.path().join("config.toml");
    std::fs::write(&config, format!("[kernel]\ndisabled_hooks = {OPTIONAL:?}\n"))?;
    let sensor = Sensor::start(&["--config", &config.display().to_string()])?;
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    client.run(&sandbox, None, &client.key("hooks"), "hooks")?;
    let stopped = sensor.stop()?;
    let status = stopped.last_status()?;
    for name in OPTIONAL {
        let hook = status.hooks.iter().find(|hook| hook.name == name).context(name)?;
        ensure!(hook.state == "missing" && !hook.lost.is_empty(), "{name}: {hook:?}");
    }
    ensure!(stopped.calls().next().is_none(), "a call was read without the TLS hook");
    let flow = stopped.records.iter().find_map(Record::flow).context("the flow is not told")?;
    let (process, endpoint) =
        (flow.process.clone().unwrap_or_default(), flow.endpoint.clone().unwrap_or_default());
    ensure!(process.exe.ends_with("curl") && endpoint.provider == "openai", "{process:?} {endpoint:?}");
    Ok(())
}
