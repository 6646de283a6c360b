//! containerd, told by CRI what to run, as a kubelet does.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use peer_api::cri::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, ImageSpec, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, Mount, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
    RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopPodSandboxRequest,
    VersionRequest, runtime_service_client::RuntimeServiceClient,
};
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::transport::{Channel, Endpoint, Uri};

use super::{IMAGE, daemon::Daemon, image, mounts, run};
use crate::{paths::Scratch, sandbox::Sandbox};

/// Namespace in which containerd keeps what CRI runs.
const NAMESPACE: &str = "k8s.io";

/// A containerd of the test's own.
#[derive(Debug)]
pub struct Containerd {
    daemon: Option<Daemon>,
    scratch: Scratch,
    runtime: Runtime,
}

/// A pod to run.
#[derive(Debug, Clone, Copy)]
pub struct PodSpec<'a> {
    /// Name.
    pub name: &'a str,
    /// Uid.
    pub uid: &'a str,
    /// Labels, as the API has them.
    pub labels: &'a [(&'a str, &'a str)],
}

/// A pod that runs, with one container named `app`.
#[derive(Debug)]
pub struct RunningPod {
    sandbox: String,
    /// Id of its container.
    pub container: String,
}

impl Containerd {
    /// Starts it with the tests' image.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("containerd")?;
        let folder = scratch.path().display();
        let config = format!(
            "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/state\"\n[grpc]\naddress = \"{folder}/containerd.sock\"\n[ttrpc]\naddress = \"{folder}/ttrpc.sock\"\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{IMAGE}\"\ndisable_apparmor = true\nrestrict_oom_score_adj = true\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n"
        );
        std::fs::write(scratch.path().join("config.toml"), config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut containerd = Self { daemon: None, scratch, runtime };
        containerd.go_on()?;
        let archive = image(containerd.scratch.path())?;
        let mut import = Command::new("ctr");
        import.arg("--address").arg(containerd.socket()).args(["--namespace", NAMESPACE]);
        run(import.args(["images", "import", "--snapshotter", "native"]).arg(archive))?;
        Ok(containerd)
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("containerd.sock")
    }

    /// Ends it; what it runs goes on.
    pub fn pause(&mut self) {
        self.daemon = None;
    }

    /// Starts it again.
    pub fn go_on(&mut self) -> Result<()> {
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.scratch.path().join("config.toml"));
        let log = self.scratch.path().join("containerd.log");
        let socket = self.socket();
        let runtime = &self.runtime;
        let ready = || {
            runtime
                .block_on(async {
                    client(&socket)
                        .await?
                        .version(VersionRequest::default())
                        .await
                        .map_err(anyhow::Error::from)
                })
                .is_ok()
        };
        self.daemon = Some(Daemon::start(command, &log, ready)?);
        Ok(())
    }

    /// Runs a pod whose container runs `command`, on the host's network.
    pub fn pod(&self, spec: PodSpec<'_>, sandbox: &Sandbox, command: Vec<String>) -> Result<RunningPod> {
        self.runtime.block_on(async {
            let mut client = client(&self.socket()).await?;
            let config = config(spec, self.scratch.path());
            let request = RunPodSandboxRequest { config: Some(config.clone()) };
            let pod =
                client.run_pod_sandbox(request).await.context("RunPodSandbox")?.into_inner().pod_sandbox_id;
            let mut labels = kubelet_labels(spec);
            labels.insert("io.kubernetes.container.name".into(), "app".into());
            let container = ContainerConfig {
                metadata: Some(ContainerMetadata { name: "app".into(), attempt: 0 }),
                image: Some(ImageSpec { image: IMAGE.into(), ..ImageSpec::default() }),
                command,
                mounts: mounts(sandbox)
                    .into_iter()
                    .map(|(host_path, container_path)| Mount { container_path, host_path, readonly: true })
                    .collect(),
                labels,
                ..ContainerConfig::default()
            };
            let request = CreateContainerRequest {
                pod_sandbox_id: pod.clone(),
                config: Some(container),
                sandbox_config: Some(config),
            };
            let container =
                client.create_container(request).await.context("CreateContainer")?.into_inner().container_id;
            let request = StartContainerRequest { container_id: container.clone() };
            client.start_container(request).await.context("StartContainer")?;
            Ok(RunningPod { sandbox: pod, container })
        })
    }

    /// Stops and forgets a pod.
    pub fn remove(&self, pod: &RunningPod) -> Result<()> {
        self.runtime.block_on(async {
            let mut client = client(&self.socket()).await?;
            let pod_sandbox_id = pod.sandbox.clone();
            client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await?;
            client.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id }).await?;
            Ok(())
        })
    }
}

async fn client(socket: &Path) -> Result<RuntimeServiceClient<Channel>> {
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await?;
    Ok(RuntimeServiceClient::new(channel))
}

fn config(spec: PodSpec<'_>, folder: &Path) -> PodSandboxConfig {
    let options = NamespaceOption { network: NamespaceMode::Node.into(), ..NamespaceOption::default() };
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: spec.name.into(),
            uid: spec.uid.into(),
            namespace: "ai".into(),
            attempt: 0,
        }),
        log_directory: folder.join("logs").display().to_string(),
        labels: kubelet_labels(spec)
            .into_iter()
            .chain(spec.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
            .collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/burstable/pod{}", spec.uid),
            security_context: Some(LinuxSandboxSecurityContext { namespace_options: Some(options) }),
        }),
        ..PodSandboxConfig::default()
    }
}

/// The labels a kubelet sets (pkg/kubelet/types/labels.go).
fn kubelet_labels(spec: PodSpec<'_>) -> HashMap<String, String> {
    let pairs = [("name", spec.name), ("namespace", "ai"), ("uid", spec.uid)];
    pairs.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.to_owned())).into()
}
