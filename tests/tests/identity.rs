//! Workloads: pods by containerd's CRI, containers by Docker, units by their cgroup.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use keywitness_tests::{
    cgroup::Cgroup,
    client::{Client, Runtime},
    container::{self, AUTHORITY, Containerd, Docker, PodSpec, Systemd},
    keys,
    paths::Scratch,
    sandbox::{Network, Sandbox},
    sensor::{Sensor, calls},
    server::{CA_FILE, Server},
};
use proto::v1::{Record, Workload};

/// Time for one call and its record, and for a source to be found again.
const LIMIT: Duration = Duration::from_secs(30);
const UIDS: [&str; 3] = [
    "6a4ce4a0-ba47-11ea-b2a7-0cc47ac5979e",
    "8712f785-1a3e-41ec-a00b-e2dcc77431cb",
    "2942c55e-c9cb-428a-93f4-eaf89c1f3ce0",
];

/// A sensor that asks these sockets and nobody else.
fn sensor(cri: &[&Path], docker: &[&Path], systemd: &[&Path]) -> Result<(Sensor, Scratch)> {
    let scratch = Scratch::new("identity")?;
    let file = scratch.path().join("config.toml");
    let text = format!(
        "[output]\nstatus_interval_s = 1\n[identity]\nhost = \"h\"\ncluster = \"kw\"\nkubernetes = \"off\"\ncri = {cri:?}\ndocker = {docker:?}\npodman = []\nsystemd = {systemd:?}\n"
    );
    std::fs::write(&file, text)?;
    let sensor = Sensor::start(&["--config", file.to_str().context("a path that is no text")?])?;
    Ok((sensor, scratch))
}

/// The workload of the call for `model`, once it is told.
fn workload(sensor: &mut Sensor, model: &str) -> Result<Workload> {
    sensor.wait_for(model, LIMIT, |records| calls(records).any(|call| call.model_requested == model))?;
    let found = sensor.records();
    let call = calls(&found).find(|call| call.model_requested == model).context("no such call")?;
    call.workload.clone().context("no workload")
}

fn source(records: &[Record], name: &str) -> Option<(String, String)> {
    records.iter().rev().filter_map(Record::status).find_map(|status| {
        let found = status.sources.iter().find(|source| source.name == name)?;
        Some((found.state.clone(), found.reason.clone()))
    })
}

fn wait_for_source(sensor: &mut Sensor, name: &str, state: &str) -> Result<()> {
    let is = |records: &[Record]| source(records, name).is_some_and(|(found, _)| found == state);
    sensor.wait_for(&format!("{name} {state}"), LIMIT, is)
}

/// Waits until sources have told of `count` containers and pods in all.
fn wait_for_identities(sensor: &mut Sensor, count: u64) -> Result<()> {
    let told = |status: &proto::v1::Status| {
        status.tables.iter().any(|table| table.name == "identities" && table.value >= count)
    };
    let any = |records: &[Record]| records.iter().filter_map(Record::status).any(told);
    sensor.wait_for(&format!("{count} answers"), LIMIT, any)
}

#[test]
fn pods_of_containerd_are_known_and_a_pod_of_the_same_name_is_another() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let mut containerd = Containerd::start()?;
    let (mut sensor, _config) = sensor(&[&containerd.socket()], &[], &[])?;
    wait_for_source(&mut sensor, "cri", "connected")?;
    let key = keys::openai("identity");
    let labels = [("app", "web"), ("pod-template-hash", "5d4f8c7b9")];
    let name = "web-5d4f8c7b9-x2x4z";
    let mut last = None;
    for ((uid, model), told) in UIDS.iter().zip(["pod-1", "pod-2", "pod-3"]).zip([2, 4, 6]) {
        if model == "pod-3" {
            // The runtime goes and comes again.
            containerd.pause();
            wait_for_source(&mut sensor, "cri", "waiting")
                .or_else(|_| wait_for_source(&mut sensor, "cri", "off"))?;
            containerd.go_on()?;
            wait_for_source(&mut sensor, "cri", "connected")?;
        }
        let spec = PodSpec { name, uid, labels: &labels };
        let command = container::when_allowed(model, container::call(&key, model, AUTHORITY));
        let pod = containerd.pod(spec, &sandbox, command)?;
        // Of its sandbox and of its container.
        wait_for_identities(&mut sensor, told)?;
        container::allow(model, &sandbox)?;
        let found = workload(&mut sensor, model)?;
        containerd.remove(&pod)?;
        ensure!(found.id == "k8s://kw/ai/deployment/web" && found.evidence == "cri_labels", "{found:?}");
        ensure!(found.pod == name && found.container == "app" && found.namespace == "ai", "{found:?}");
        ensure!(found.instance == pod.container && found.image == container::IMAGE, "{found:?}");
        ensure!(found.labels.get("app").is_some_and(|app| app == "web"), "{found:?}");
        ensure!(
            found.valid_from > 0 && last.replace(found.instance.clone()) != Some(found.instance),
            "same instance"
        );
    }
    Ok(())
}

#[test]
fn containers_of_docker_are_known_and_a_name_that_comes_again_is_another() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let docker = Docker::start()?;
    let (mut sensor, _config) = sensor(&[], &[&docker.socket()], &[])?;
    wait_for_source(&mut sensor, "docker", "connected")?;
    let key = keys::openai("docker");
    for (model, told) in [("docker-1", 1), ("docker-2", 2)] {
        let command = container::when_allowed(model, container::call(&key, model, AUTHORITY));
        let id = docker.run("agent", &sandbox, &command)?;
        wait_for_identities(&mut sensor, told)?;
        container::allow(model, &sandbox)?;
        let found = workload(&mut sensor, model)?;
        docker.remove("agent")?;
        ensure!(found.id == "docker://h/agent" && found.evidence == "docker", "{found:?}");
        ensure!(found.instance == id && found.image == container::IMAGE, "{found:?} is not {id}");
        ensure!(found.labels.get("team").is_some_and(|team| team == "research"), "{found:?}");
        ensure!(found.unknown_reason.is_empty(), "{found:?}");
    }
    drop(sensor.stop()?);
    // Nobody to ask: the id is all there is.
    let (mut sensor, _config) = self::sensor(&[], &[], &[])?;
    let id = docker.run("agent", &sandbox, &container::call(&key, "docker-3", AUTHORITY))?;
    let found = workload(&mut sensor, "docker-3")?;
    docker.remove("agent")?;
    ensure!(found.id == format!("docker://h/{id}") && found.name.is_empty(), "{found:?}");
    ensure!(found.unknown_reason.contains("docker: off, not configured"), "{found:?}");
    Ok(())
}

#[test]
fn a_unit_is_known_by_its_cgroup_and_started_again_is_another_instance() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let (mut sensor, _config) = sensor(&[], &[], &[])?;
    let slice = Cgroup::new("units")?;
    let client = Client { runtime: Runtime::Curl, script: "curl_call.sh", mode: "chat", provider: "openai" };
    let mut instances = Vec::new();
    for model in ["unit-1", "unit-2"] {
        let unit = slice.child("agent.service")?;
        client.run(&sandbox, Some(&unit), &client.key("unit"), model)?;
        let found = workload(&mut sensor, model)?;
        ensure!(found.id == "systemd://h/agent.service" && found.unit == "agent.service", "{found:?}");
        ensure!(found.evidence == "cgroup_path" && found.valid_from > 0, "{found:?}");
        instances.push(found.instance);
    }
    ensure!(instances[0] != instances[1], "{instances:?}");
    Ok(())
}

#[test]
fn systemd_says_which_invocation_of_a_unit_it_is() -> Result<()> {
    let sandbox = Sandbox::new(Network::Shared)?;
    let _server = Server::start(&sandbox)?;
    let authority = sandbox.dir().join(CA_FILE).display().to_string();
    // A service that is up for a while before it calls.
    let call = container::call(&keys::openai("systemd"), "systemd-1", &authority);
    let wait = format!(
        r#"until [ -e {0}/go ]; do sleep 0.02; done; rm {0}/go; exec "$0" "$@""#,
        sandbox.dir().display()
    );
    let call: Vec<String> =
        ["/bin/sh".to_owned(), "-c".into(), wait.replace('$', "$$")].into_iter().chain(call).collect();
    let systemd = Systemd::start(&sandbox, "agent.service", &call)?;
    let (mut sensor, _config) = sensor(&[], &[], &[&systemd.socket()])?;
    wait_for_source(&mut sensor, "systemd", "connected")?;
    let mut instances = Vec::new();
    // With cgroup v1 a unit is in two hierarchies, and what runs already is asked about at once: its D-Bus.
    let (first, each) = if Path::new("/sys/fs/cgroup/systemd").is_dir() { (1, 2) } else { (0, 1) };
    wait_for_identities(&mut sensor, first)?;
    for count in [1, 2] {
        systemd.control(&["restart", "agent.service"])?;
        wait_for_identities(&mut sensor, first + each * count as u64)?;
        container::allow("go", &sandbox)?;
        let seen = |records: &[Record]| {
            calls(records).filter(|call| call.model_requested == "systemd-1").count() == count
        };
        sensor.wait_for("the unit's call", LIMIT, seen)?;
        let records = sensor.records();
        let call =
            calls(&records).filter(|call| call.model_requested == "systemd-1").last().context("no call")?;
        let found = call.workload.clone().context("no workload")?;
        let invocation = systemd.control(&["show", "--property=InvocationID", "--value", "agent.service"])?;
        ensure!(found.id == "systemd://h/agent.service" && found.evidence == "systemd", "{found:?}");
        ensure!(found.instance == invocation && found.valid_from > 0, "{found:?} is not {invocation}");
        instances.push(invocation);
    }
    ensure!(instances[0] != instances[1], "{instances:?}");
    Ok(())
}
