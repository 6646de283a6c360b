//! What sources of identity say: container runtimes, the Kubernetes API, systemd, SPIRE.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{CgroupKey, ProcessKey};

/// Labels kept of one answer; the others are left out, in the order of their keys.
const MAX_LABELS: usize = 64;
/// Longest label kept, key and value, bytes.
const MAX_LABEL: usize = 1024;
/// Labels that repeat what has a field of its own, or tell of the runtime's own affairs.
const INNER_LABELS: [&str; 3] = ["io.kubernetes.", "annotation.io.kubernetes.", "io.cri-containerd."];

/// Who says something, in order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// The Kubernetes API: what was asked for.
    Kubernetes,
    /// containerd or CRI-O.
    Cri,
    /// Docker.
    Docker,
    /// Podman, by its Docker-compatible API.
    Podman,
    /// systemd.
    Systemd,
    /// SPIRE's agent.
    Spire,
}

/// Whether a source can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// It is not there, or not wanted; the reason.
    Off(String),
    /// It does not answer now; the reason.
    Waiting(String),
    /// It answers.
    Connected,
}

/// Whom an answer is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum About {
    /// A container, by its id.
    Container(String),
    /// A pod, by its uid.
    Pod(String),
    /// What is in a cgroup. For names that come again, such as those of units.
    Cgroup(CgroupKey),
    /// One process.
    Process(ProcessKey),
}

/// One answer of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Who says it.
    pub source: Source,
    /// Whom it is about.
    pub about: About,
    /// What; `None` when the source does not know it, or no longer.
    pub facts: Option<Facts>,
}

/// What is said of one container, pod, unit or process; empty is unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Name of the container, or of the service it belongs to.
    pub name: String,
    /// Image as it was asked for.
    pub image: String,
    /// Name of this run, such as systemd's invocation id.
    pub instance: String,
    /// Start, nanoseconds since the epoch.
    pub from: u64,
    /// End, nanoseconds since the epoch.
    pub until: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The pod it is, or belongs to.
    pub pod: Option<Pod>,
    /// SPIFFE id.
    pub spiffe_id: String,
    /// Id of a principal that a scheduler's labels name.
    pub principal: String,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Name or uid of the cluster.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Name of the container, in an answer about a container.
    pub container: String,
    /// Service account.
    pub service_account: String,
    /// Node.
    pub node: String,
    /// What made it.
    pub owner: Option<Owner>,
    /// Its containers, in an answer about a pod.
    pub containers: Vec<PodContainer>,
}

/// A container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodContainer {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image.
    pub image: String,
}

/// What made a pod, as far up as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Kind, as in the API: `Deployment`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// It follows from names and labels, not from the API's references.
    pub by_labels: bool,
}

impl Source {
    /// All, in order of trust.
    pub const ALL: [Self; 6] =
        [Self::Kubernetes, Self::Cri, Self::Docker, Self::Podman, Self::Systemd, Self::Spire];

    /// As in records and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Cri => "cri",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Systemd => "systemd",
            Self::Spire => "spire",
        }
    }
}

impl Facts {
    /// Labels within the limits, without those that have fields of their own.
    pub fn labelled(mut self, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        let inner = |key: &str| INNER_LABELS.iter().any(|prefix| key.starts_with(prefix));
        let sorted: BTreeMap<_, _> = labels
            .into_iter()
            .filter(|(key, value)| !inner(key) && key.len().saturating_add(value.len()) <= MAX_LABEL)
            .collect();
        self.labels = sorted.into_iter().take(MAX_LABELS).collect();
        self
    }
}

impl Pod {
    /// The pod that a runtime's labels name (kubelet's pkg/kubelet/types/labels.go).
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let name = label("io.kubernetes.pod.name");
        (!name.is_empty()).then(|| Self {
            namespace: label("io.kubernetes.pod.namespace"),
            uid: label("io.kubernetes.pod.uid"),
            container: label("io.kubernetes.container.name"),
            owner: Owner::of_labels(&name, labels),
            name,
            ..Self::default()
        })
    }
}

impl Owner {
    /// What the labels that controllers set and the names they make say together. A label alone proves
    /// nothing, anybody can set it.
    pub fn of_labels(pod: &str, labels: &BTreeMap<String, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).filter(|value| !value.is_empty());
        let found = |kind: &str, name: &str| {
            (!name.is_empty()).then(|| Self { kind: kind.into(), name: name.into(), by_labels: true })
        };
        let (stem, last) = pod.rsplit_once('-')?;
        let generated = last.len() == 5 && last.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let counted = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(hash) = label("pod-template-hash").filter(|_| generated) {
            return found("Deployment", stem.strip_suffix(hash.as_str())?.strip_suffix('-')?);
        }
        if let Some(job) = label("batch.kubernetes.io/job-name").or_else(|| label("job-name")) {
            // An indexed job's pods also carry their index.
            let of_job = stem == job || stem.rsplit_once('-').is_some_and(|(stem, _)| stem == job);
            return Self::of_job(job).filter(|_| of_job);
        }
        if label("statefulset.kubernetes.io/pod-name").is_some_and(|name| name == pod) && counted {
            return found("StatefulSet", stem);
        }
        if label("controller-revision-hash").is_some()
            && label("pod-template-generation").is_some()
            && generated
        {
            return found("DaemonSet", stem);
        }
        None
    }

    /// A job, or the cron job that named it: NAME-MINUTES, minutes since the epoch.
    pub fn of_job(job: &str) -> Option<Self> {
        let (kind, name) = match job.rsplit_once('-') {
            Some((name, minutes)) if minutes.len() == 8 && minutes.bytes().all(|b| b.is_ascii_digit()) => {
                ("CronJob", name)
            }
            _ => ("Job", job),
        };
        (!name.is_empty()).then(|| Self { kind: kind.into(), name: name.into(), by_labels: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn owners_follow_from_labels_and_names_together() {
        /// Pod, labels, owner.
        type Case =
            (&'static str, &'static [(&'static str, &'static str)], Option<(&'static str, &'static str)>);
        let cases: [Case; 10] = [
            ("web-5d4f8c7b9-x2x4z", &[("pod-template-hash", "5d4f8c7b9")], Some(("Deployment", "web"))),
            ("a-b-5d4f8c7b9-x2x4z", &[("pod-template-hash", "5d4f8c7b9")], Some(("Deployment", "a-b"))),
            ("web-other-x2x4z", &[("pod-template-hash", "5d4f8c7b9")], None),
            ("5d4f8c7b9-x2x4z", &[("pod-template-hash", "5d4f8c7b9")], None),
            ("db-0", &[("statefulset.kubernetes.io/pod-name", "db-0")], Some(("StatefulSet", "db"))),
            ("db-x", &[("statefulset.kubernetes.io/pod-name", "db-x")], None),
            (
                "log-abcde",
                &[("controller-revision-hash", "1"), ("pod-template-generation", "1")],
                Some(("DaemonSet", "log")),
            ),
            ("train-abcde", &[("job-name", "train")], Some(("Job", "train"))),
            (
                "nightly-29384756-abcde",
                &[("batch.kubernetes.io/job-name", "nightly-29384756")],
                Some(("CronJob", "nightly")),
            ),
            ("bare", &[("job-name", "other")], None),
        ];
        for (pod, pairs, expected) in cases {
            let owner = Owner::of_labels(pod, &labels(pairs));
            let found = owner.as_ref().map(|owner| (owner.kind.as_str(), owner.name.as_str()));
            assert_eq!(found, expected, "{pod}");
        }
    }

    #[test]
    fn a_pod_needs_a_name() {
        assert_eq!(Pod::of_labels(&labels(&[("io.kubernetes.pod.uid", "u")])), None);
        let pod = Pod::of_labels(&labels(&[
            ("io.kubernetes.pod.name", "p"),
            ("io.kubernetes.pod.namespace", "n"),
            ("io.kubernetes.container.name", "c"),
        ]));
        let pod = pod.unwrap();
        assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.container.as_str()), ("p", "n", "c"));
    }

    #[test]
    fn labels_have_limits() {
        let many = (0..MAX_LABELS + 10).map(|n| (format!("k{n:03}"), "v".to_owned()));
        let long =
            [("long".to_owned(), "x".repeat(MAX_LABEL)), ("io.kubernetes.pod.name".into(), "p".into())];
        let facts = Facts::default().labelled(many.chain(long));
        assert_eq!(facts.labels.len(), MAX_LABELS);
        assert!(facts.labels.keys().all(|key| key.starts_with('k')));
    }
}
