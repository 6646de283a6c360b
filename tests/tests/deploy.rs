//! What deploy/ holds: the systemd unit under a real systemd, the chart rendered for several versions of Kubernetes.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    container::Systemd,
    paths::{self, Scratch},
    sandbox::{Network, Sandbox},
    sensor, setup, wait,
};
use serde_json::{Value, json};

/// Versions of Kubernetes that the chart is rendered for: the oldest it takes, one between, the newest known.
const KUBERNETES: [&str; 3] = ["1.25.0", "1.30.0", "1.37.0"];
const UNIT: &str = "keywitness.service";
const WITHIN: Duration = Duration::from_secs(60);

fn unit() -> Result<String> {
    let path = paths::repository().join("deploy/systemd").join(UNIT);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The values of a directive in the unit file.
fn directive<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
    unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// A folder that is removed at the end, whatever the end is.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn property(systemd: &Systemd, name: &str) -> Result<String> {
    let line = systemd.control(&["show", "--property", name, UNIT])?;
    Ok(line.trim().split_once('=').map_or(String::new(), |(_, value)| value.to_owned()))
}

/// Status and answer of a GET; an error while nobody listens.
fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("no status line")?.parse()?;
    Ok((status, answer))
}

#[test]
fn the_hardened_unit_attaches_every_hook_and_is_started_anew_when_it_is_stuck() -> Result<()> {
    let _alone = sensor::alone()?;
    let scratch = Scratch::new("unit")?;
    let (address, config) = ("127.0.0.1:19477", scratch.path().join("config.toml"));
    std::fs::write(&config, format!("[metrics]\nlisten = \"{address}\"\n"))?;
    let given = scratch.path().join("fleet.key");
    std::fs::write(&given, format!("kwfk1-{}\n", "5".repeat(64)))?;
    let state = format!("keywitness-test-{}", std::process::id());
    // Where systemd puts it; dropped after systemd.
    let folder = Removed(Path::new("/var/lib").join(&state));
    let command = format!(
        "ExecStart={} run --output none --state-dir %S/{state} --config {}",
        paths::keywitness()?.display(),
        config.display()
    );
    // What differs from the file: names of its own, and shorter times.
    let unit = unit()?
        .replace("[Unit]", "[Unit]\nDefaultDependencies=no")
        .replace("ExecStart=/usr/bin/keywitness run --output none", &command)
        .replace("StateDirectory=keywitness\n", &format!("StateDirectory={state}\n"))
        .replace("ConfigurationDirectory=keywitness\n", "")
        // It would hide the folders of this test.
        .replace("PrivateTmp=yes\n", "")
        .replace(
            "#LoadCredential=fleet.key:/etc/keywitness/fleet.key",
            &format!("LoadCredential=fleet.key:{}", given.display()),
        )
        .replace("WatchdogSec=60", "WatchdogSec=4\nTimeoutAbortSec=1");
    let sandbox = Sandbox::new(Network::Shared)?;
    let systemd = Systemd::start_unit(&sandbox, UNIT, &unit)?;
    // With Type=notify it returns when the sensor has said that it is ready.
    systemd.control(&["start", UNIT])?;
    let told = wait::until("the state of the sensor", WITHIN, || {
        let text = property(&systemd, "StatusText")?;
        Ok(text.contains("hooks").then_some(text))
    })?;
    let (attached, all) = told.split_once(" of ").context("no counts")?;
    assert!(all.starts_with(&format!("{attached} hooks; 0 calls (0 unbound); ")), "{told}");
    ensure!(
        folder.0.join("log").is_dir() && !folder.0.join("fleet.key").exists(),
        "a key was made beside the given one"
    );

    systemd.control(&["kill", "--signal", "STOP", UNIT])?;
    wait::until("the watchdog", WITHIN, || Ok((property(&systemd, "NRestarts")? == "1").then_some(())))?;
    wait::until("the sensor to run again", WITHIN, || {
        Ok((property(&systemd, "ActiveState")? == "active").then_some(()))
    })?;
    systemd.control(&["stop", UNIT])?;
    assert_eq!(property(&systemd, "Result")?, "success");
    Ok(())
}

#[test]
fn metrics_of_a_running_sensor_agree_with_its_records() -> Result<()> {
    let scratch = Scratch::new("metrics")?;
    let (address, config) = ("127.0.0.1:19478", scratch.path().join("config.toml"));
    std::fs::write(&config, format!("[metrics]\nlisten = \"{address}\"\n"))?;
    let sensor = sensor::Sensor::start(&["--config", &config.display().to_string()])?;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(address, path)?.0, 200, "{path}");
    }
    let (status, page) = get(address, "/metrics")?;
    assert_eq!(status, 200);
    let sum = |metric: &str| -> f64 {
        let samples = page.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    let hooks = page.lines().filter(|line| line.starts_with("keywitness_hook_attached{")).count();
    assert!(hooks > 10 && sum("keywitness_hook_attached") == hooks as f64, "{page}");
    let in_flight = page
        .lines()
        .find_map(|line| line.strip_prefix("keywitness_events_in_flight "))
        .context("in flight")?;
    let (produced, lost) = (sum("keywitness_events_produced_total"), sum("keywitness_events_lost_total"));
    assert!(produced > 0.0, "{page}");
    assert_eq!(produced, sum("keywitness_events_delivered_total") + lost + in_flight.parse::<f64>()?);
    let stopped = sensor.stop()?;
    assert!(stopped.status.success() && get(address, "/metrics").is_err());
    Ok(())
}

/// The resources of the chart with these values, checked for each version.
fn render(values: &Value) -> Result<Vec<Value>> {
    let mut python = Command::new(setup::python());
    python.arg(paths::repository().join("tests/clients/check_chart.py"));
    python.arg(paths::repository().join("deploy/helm/keywitness")).args(KUBERNETES);
    let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no input")?.write_all(values.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn of_kind<'a>(resources: &'a [Value], kind: &str) -> Result<&'a Value> {
    resources.iter().find(|one| one["kind"] == kind).with_context(|| format!("there is no {kind}"))
}

#[test]
fn the_chart_asks_for_what_the_sensor_uses_and_no_more() -> Result<()> {
    setup::python_clients()?;
    let resources = render(&json!({}))?;
    let mut kinds: Vec<&str> = resources.iter().filter_map(|one| one["kind"].as_str()).collect();
    kinds.sort_unstable();
    let expected =
        ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "Service", "ServiceAccount"];
    assert_eq!(kinds, expected);
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]},
    ]);
    assert_eq!(of_kind(&resources, "ClusterRole")?["rules"], rules);
    let pod = &of_kind(&resources, "DaemonSet")?["spec"]["template"]["spec"];
    assert_eq!((&pod["hostPID"], &pod["hostNetwork"]), (&json!(true), &Value::Null));
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!((&context["privileged"], &context["readOnlyRootFilesystem"]), (&Value::Null, &json!(true)));
    // The same as under systemd.
    let unit = unit()?;
    let of_unit: Vec<&str> = directive(&unit, "CapabilityBoundingSet")
        .context("the unit has no capabilities")?
        .split(' ')
        .filter_map(|name| name.strip_prefix("CAP_"))
        .collect();
    assert_eq!(context["capabilities"], json!({"add": of_unit, "drop": ["ALL"]}));
    Ok(())
}

#[test]
fn every_value_of_the_chart_has_its_effect_and_the_configuration_is_valid() -> Result<()> {
    setup::python_clients()?;
    let resources = render(&json!({
        "clusterName": "prod",
        "sensor": {
            "fleetKeySecret": "fleet", "certificateSecret": "certificates", "privileged": true, "hostNetwork": true,
            "priorityClassName": "system-node-critical", "extraArgs": ["--status-interval", "60"],
            "prometheus": {"serviceMonitor": {"enabled": true, "labelsOverride": {"release": "prometheus"}}},
        },
        "collector": {
            "enabled": true, "certificateSecret": "collector", "prometheus": {"serviceMonitor": {"enabled": true}},
        },
    }))?;
    let scratch = Scratch::new("chart")?;
    let config = scratch.path().join("config.toml");
    let text =
        of_kind(&resources, "ConfigMap")?["data"]["config.toml"].as_str().context("no configuration")?;
    assert!(text.contains("cluster = \"prod\""), "{text}");
    std::fs::write(&config, text)?;
    let check = Command::new(paths::keywitness()?).args(["config", "check"]).arg(&config).output()?;
    ensure!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let pod = &of_kind(&resources, "DaemonSet")?["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"], json!({"privileged": true}));
    assert_eq!(container["args"], json!(["run", "--output", "none", "--status-interval", "60"]));
    let key = json!({"name": "fleet-key", "mountPath": "/etc/keywitness/credentials/fleet.key", "subPath": "fleet.key", "readOnly": true});
    assert!(container["volumeMounts"].as_array().is_some_and(|mounts| mounts.contains(&key)), "{container}");
    assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
    let mut monitors = resources.iter().filter(|one| one["kind"] == "ServiceMonitor");
    assert!(monitors.any(|one| one["metadata"]["labels"]["release"] == "prometheus"));
    let collector = &of_kind(&resources, "StatefulSet")?["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(collector["livenessProbe"]["httpGet"], json!({"path": "/healthz", "port": "metrics"}));
    assert!(
        collector["args"].as_array().is_some_and(|args| args.contains(&json!("[::]:9478"))),
        "{collector}"
    );
    assert_eq!(resources.iter().filter(|one| one["kind"] == "ServiceMonitor").count(), 2);
    Ok(())
}
