//! containerd and CRI-O by the Container Runtime Interface, `runtime.v1`, over their Unix socket.

use std::path::{Path, PathBuf};

use attribution::identity::answer::{Facts, Owner, Pod};
use hyper_util::rt::TokioIo;
use peer_api::cri::{
    ContainerFilter, ContainerStatusRequest, ListContainersRequest, PodSandboxStatusRequest, VersionRequest,
    runtime_service_client::RuntimeServiceClient,
};
use tokio::net::UnixStream;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint, Uri},
};

use super::{
    link::{PATIENCE, Peer},
    sources::Question,
};

/// Largest answer accepted, bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A runtime.
#[derive(Debug)]
pub(super) struct Cri {
    socket: PathBuf,
    cluster: String,
}

/// A gRPC channel over the Unix socket at `path`.
pub(super) async fn channel(path: &Path) -> Result<Channel, String> {
    let path = path.to_owned();
    let shown = path.display().to_string();
    // The address is not used: a socket has none.
    let endpoint = Endpoint::from_static("http://localhost").connect_timeout(PATIENCE).timeout(PATIENCE);
    let connect = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connect).await.map_err(|error| format!("{shown}: {}", deepest(&error)))
}

/// The message of the cause that lies deepest.
pub(super) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// An answer, nothing where nothing is known, or the end of the connection.
pub(super) fn known<T>(answer: Result<tonic::Response<T>, Status>) -> Result<Option<T>, String> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) => match status.code() {
            Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unimplemented
                if !status.message().contains("not found") =>
            {
                Err(status.message().to_owned())
            }
            _ => Ok(None),
        },
    }
}

impl Cri {
    pub(super) fn at(socket: &Path, cluster: &str) -> Self {
        Self { socket: socket.to_owned(), cluster: cluster.to_owned() }
    }
}

impl Peer for Cri {
    type Connection = RuntimeServiceClient<Channel>;

    fn socket(&self) -> Option<&Path> {
        Some(&self.socket)
    }

    async fn connect(&mut self) -> Result<(Self::Connection, String), String> {
        let channel = channel(&self.socket).await?;
        let mut client = RuntimeServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let version =
            client.version(VersionRequest::default()).await.map_err(|status| match status.code() {
                Code::Unimplemented => format!("{}: it does not serve CRI v1", self.socket.display()),
                _ => format!("{}: {}", self.socket.display(), status.message()),
            })?;
        let version = version.into_inner();
        let detail =
            format!("{} {} at {}", version.runtime_name, version.runtime_version, self.socket.display());
        Ok((client, detail))
    }

    async fn ping(client: &mut Self::Connection) -> Result<(), String> {
        client
            .version(VersionRequest::default())
            .await
            .map(drop)
            .map_err(|status| status.message().to_owned())
    }

    async fn ask(&self, client: &mut Self::Connection, question: &Question) -> Result<Option<Facts>, String> {
        let Question::Container(id) = question else { return Ok(None) };
        let request = ContainerStatusRequest { container_id: id.clone(), verbose: false };
        let Some(answer) = known(client.container_status(request).await)? else {
            return self.sandbox(client, id).await;
        };
        let Some(status) = answer.status else { return Ok(None) };
        let labels = status.labels.into_iter().collect();
        let mut pod = Pod::of_labels(&labels);
        // Labels of the pod are the sandbox's; the container has only its own.
        let filter = Some(ContainerFilter { id: id.clone() });
        let listed = known(client.list_containers(ListContainersRequest { filter }).await)?;
        let sandbox =
            listed.and_then(|list| list.containers.into_iter().next()).map(|one| one.pod_sandbox_id);
        let mut all = labels;
        if let Some(sandbox) = sandbox
            && let Some(facts) = self.sandbox(client, &sandbox).await?
        {
            all = facts.labels;
            if let (Some(pod), Some(outer)) = (&mut pod, facts.pod) {
                pod.owner = outer.owner;
            }
        }
        if let Some(pod) = &mut pod {
            pod.cluster.clone_from(&self.cluster);
        }
        let image = status.image.unwrap_or_default();
        let facts = Facts {
            name: status.metadata.unwrap_or_default().name,
            image: if image.user_specified_image.is_empty() {
                image.image
            } else {
                image.user_specified_image
            },
            from: positive(status.started_at),
            until: positive(status.finished_at),
            pod,
            ..Facts::default()
        };
        Ok(Some(facts.labelled(all)))
    }
}

impl Cri {
    /// What is known of a pod by its sandbox.
    async fn sandbox(
        &self,
        client: &mut RuntimeServiceClient<Channel>,
        id: &str,
    ) -> Result<Option<Facts>, String> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let answer = known(client.pod_sandbox_status(request).await)?;
        let Some(status) = answer.and_then(|answer| answer.status) else { return Ok(None) };
        let metadata = status.metadata.unwrap_or_default();
        let labels = status.labels.into_iter().collect();
        let pod = Pod {
            cluster: self.cluster.clone(),
            owner: Owner::of_labels(&metadata.name, &labels),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            ..Pod::default()
        };
        let facts = Facts {
            name: pod.name.clone(),
            from: positive(status.created_at),
            pod: Some(pod),
            ..Facts::default()
        };
        Ok(Some(facts.labelled(labels)))
    }
}

fn positive(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds).unwrap_or_default()
}
