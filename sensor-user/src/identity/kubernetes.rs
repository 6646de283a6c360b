//! This node's pods from the Kubernetes API: one watch, and the owners of what owns them.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    path::{Path, PathBuf},
    pin::pin,
};

use attribution::identity::answer::{About, Facts, Owner, Pod, PodContainer, SourceState};
use futures_core::Stream as _;
use k8s_openapi::{
    api::{apps::v1::ReplicaSet, batch::v1::Job, core::v1},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher::{self, Event, watcher},
};
use tokio::time::{sleep, timeout};

use super::{
    link::{Backoff, Mouth, PATIENCE},
    spiffe::derived,
};
use crate::config;

/// Pods followed; a node has some hundred at most.
const MAX_PODS: usize = 4096;
/// Owners remembered; all are forgotten when there are more.
const MAX_OWNERS: usize = 4096;
/// Where a pod finds its own service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Namespace whose uid names a cluster (OpenTelemetry `k8s.cluster.uid`).
const CLUSTER_NAMESPACE: &str = "kube-system";

/// Which API is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// `None`: that of the cluster this runs in.
    kubeconfig: Option<PathBuf>,
    node: String,
    cluster: String,
    trust_domain: String,
}

/// What is known of the cluster.
struct Cluster {
    client: Client,
    wanted: Wanted,
    /// Owners of pods' owners by their uid; nothing when they cannot be read.
    owners: HashMap<String, Option<Owner>>,
    pods: HashSet<String>,
    /// Uids seen since the list began again.
    listed: Option<HashSet<String>>,
}

impl Wanted {
    /// `None` when there is no API to ask.
    pub(super) fn of(settings: &config::Identity, host: &str) -> Option<Self> {
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists();
        let kubeconfig = match &settings.kubernetes {
            config::Kubernetes::Off => return None,
            config::Kubernetes::Auto if !in_cluster => return None,
            config::Kubernetes::Auto => None,
            config::Kubernetes::File(path) => Some(path.clone()),
        };
        let node = settings.node.clone().or_else(|| std::env::var("NODE_NAME").ok());
        Some(Self {
            kubeconfig,
            node: node.unwrap_or_else(|| host.to_owned()),
            cluster: settings.cluster.clone(),
            trust_domain: settings.trust_domain.clone(),
        })
    }

    async fn client(&self) -> Result<Client, String> {
        let config = match &self.kubeconfig {
            None => Config::incluster().map_err(|error| error.to_string())?,
            Some(path) => {
                let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| named(&error))?;
                let options = KubeConfigOptions::default();
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| named(&error))?
            }
        };
        Client::try_from(config).map_err(|error| error.to_string())
    }
}

/// Follows the pods as long as the sensor runs.
pub(super) async fn run(mut wanted: Wanted, mouth: Mouth) {
    let mut backoff = Backoff::new();
    let client = loop {
        match wanted.client().await {
            Ok(client) => break client,
            Err(reason) => mouth.state(SourceState::Waiting(reason), "").await,
        }
        sleep(backoff.wait()).await;
    };
    if wanted.cluster.is_empty() {
        wanted.cluster = cluster_uid(&client).await.unwrap_or_default();
    }
    let detail = format!("pods of node {}", wanted.node);
    let only_here = watcher::Config::default().fields(&format!("spec.nodeName={}", wanted.node));
    // The watcher begins again after each error: where it was, or with a new list when that is gone (410).
    let mut events = pin!(watcher(Api::<v1::Pod>::all(client.clone()), only_here));
    let (owners, pods) = (HashMap::new(), HashSet::new());
    let mut cluster = Cluster { client, wanted, owners, pods, listed: None };
    let mut connected = false;
    while let Some(event) = poll_fn(|context| events.as_mut().poll_next(context)).await {
        match event {
            Ok(event) => {
                // A new list alone is no sign of life: it is announced before it is asked for.
                if !connected && !matches!(event, Event::Init) {
                    mouth.state(SourceState::Connected, &detail).await;
                    (connected, backoff) = (true, Backoff::new());
                }
                cluster.event(event, &mouth).await;
            }
            Err(error) => {
                connected = false;
                mouth.state(SourceState::Waiting(error.to_string()), "").await;
                sleep(backoff.wait()).await;
            }
        }
    }
}

/// What names a cluster that nobody named; nothing when it may not be read.
async fn cluster_uid(client: &Client) -> Option<String> {
    let namespaces = Api::<v1::Namespace>::all(client.clone());
    timeout(PATIENCE, namespaces.get(CLUSTER_NAMESPACE)).await.ok()?.ok()?.metadata.uid
}

impl Cluster {
    async fn event(&mut self, event: Event<v1::Pod>, mouth: &Mouth) {
        match event {
            Event::Init => {
                self.listed = Some(HashSet::new());
                // What could not be read may be readable now.
                self.owners.retain(|_, owner| owner.is_some());
            }
            Event::InitApply(pod) | Event::Apply(pod) => self.pod(pod, mouth).await,
            Event::Delete(pod) => {
                if let Some(uid) = pod.metadata.uid {
                    self.pods.remove(&uid);
                    mouth.answer(About::Pod(uid), None).await;
                }
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<String> = self.pods.difference(&listed).cloned().collect();
                for uid in gone {
                    self.pods.remove(&uid);
                    mouth.answer(About::Pod(uid), None).await;
                }
            }
        }
    }

    async fn pod(&mut self, pod: v1::Pod, mouth: &Mouth) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        if !self.pods.contains(&uid) && self.pods.len() >= MAX_PODS {
            return;
        }
        self.pods.insert(uid.clone());
        if let Some(listed) = &mut self.listed {
            listed.insert(uid.clone());
        }
        let facts = self.facts(pod).await;
        mouth.answer(About::Pod(uid), Some(facts)).await;
    }

    async fn facts(&mut self, pod: v1::Pod) -> Facts {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let owner = self.owner(&namespace, &pod.metadata).await;
        let spec = pod.spec.unwrap_or_default();
        let service_account = spec.service_account_name.unwrap_or_default();
        let spiffe_id = derived(&self.wanted.trust_domain, &namespace, &service_account).unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let from = status.start_time.map(|time| time.0.as_nanosecond());
        let statuses =
            [status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses];
        let containers = statuses.into_iter().flatten().flatten().filter_map(|container| {
            // RUNTIME://ID
            let id = container.container_id?.split_once("://")?.1.to_owned();
            Some(PodContainer { id, name: container.name, image: container.image })
        });
        let facts = Facts {
            from: from.and_then(|from| u64::try_from(from).ok()).unwrap_or_default(),
            spiffe_id,
            pod: Some(Pod {
                cluster: self.wanted.cluster.clone(),
                namespace,
                name: pod.metadata.name.unwrap_or_default(),
                uid: pod.metadata.uid.unwrap_or_default(),
                container: String::new(),
                service_account,
                node: spec.node_name.unwrap_or_default(),
                owner,
                containers: containers.collect(),
            }),
            ..Facts::default()
        };
        facts.labelled(pod.metadata.labels.unwrap_or_default())
    }

    /// What made a pod, at most two steps up: ReplicaSet to Deployment, Job to CronJob.
    async fn owner(&mut self, namespace: &str, pod: &ObjectMeta) -> Option<Owner> {
        let first = controller(pod)?;
        let direct = Owner { kind: first.kind.clone(), name: first.name.clone(), by_labels: false };
        if !matches!(first.kind.as_str(), "ReplicaSet" | "Job") {
            return Some(direct);
        }
        let upper = match self.owners.get(&first.uid) {
            Some(known) => known.clone(),
            None => {
                let read = self.read(namespace, first).await;
                if self.owners.len() >= MAX_OWNERS {
                    self.owners.clear();
                }
                self.owners.insert(first.uid.clone(), read.clone());
                read
            }
        };
        let by_labels = || {
            let labels = pod.labels.as_ref()?;
            Owner::of_labels(pod.name.as_deref()?, labels).filter(|owner| owner.kind != "Job")
        };
        upper.or_else(by_labels).or(Some(direct))
    }

    /// The controller of a ReplicaSet or Job, or itself when it has none; nothing when it cannot be read.
    async fn read(&self, namespace: &str, of: &OwnerReference) -> Option<Owner> {
        let client = self.client.clone();
        let metadata = match of.kind.as_str() {
            "ReplicaSet" => {
                let api = Api::<ReplicaSet>::namespaced(client, namespace);
                timeout(PATIENCE, api.get_metadata(&of.name)).await.ok()?.map(|found| found.metadata)
            }
            _ => {
                let api = Api::<Job>::namespaced(client, namespace);
                timeout(PATIENCE, api.get_metadata(&of.name)).await.ok()?.map(|found| found.metadata)
            }
        };
        let metadata = match metadata {
            // Another one by the same name says nothing about this one.
            Ok(metadata) => Some(metadata).filter(|found| found.uid.as_ref() == Some(&of.uid))?,
            Err(error) => {
                tracing::debug!(%error, kind = of.kind, name = of.name, "the owner of a pod cannot be read");
                return None;
            }
        };
        let found = controller(&metadata).unwrap_or(of);
        Some(Owner { kind: found.kind.clone(), name: found.name.clone(), by_labels: false })
    }
}

fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests;
