//! The sources of identity: what each gives, where it is looked for, and the tasks that ask them.
//!
//! The event loop never waits for a source: questions and answers go through bounded queues, and each task
//! keeps its connection, its time limits and its waits to itself. A source that is not there costs a look at
//! its socket now and then.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use attribution::{
    event::{CgroupKey, Event, ProcessKey},
    identity::{
        answer::{Answer, Source, SourceState},
        cgroup::Scope,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{cri::Cri, docker::Docker, kubernetes, link, spiffe::Spire, systemd::Systemd};
use crate::config;

/// Questions that wait for one endpoint.
const MAX_QUESTIONS: usize = 1024;
/// Answers that wait for the event loop.
const MAX_ANSWERS: usize = 4096;

/// One source of identity, as the documentation and `doctor` list it.
#[derive(Debug)]
pub struct Row {
    /// The source.
    pub source: Source,
    /// What it gives.
    pub gives: &'static str,
    /// Key in section `[identity]` of the configuration.
    pub key: &'static str,
    /// Where it is looked for by default.
    pub sockets: &'static [&'static str],
}

/// All sources, in order of trust.
pub const SOURCES: [Row; 6] = [
    Row {
        source: Source::Kubernetes,
        gives: "owner, service account and labels of this node's pods",
        key: "kubernetes",
        sockets: &[],
    },
    Row {
        source: Source::Cri,
        gives: "pod, container and image of containerd's and CRI-O's containers",
        key: "cri",
        sockets: &[
            "/run/containerd/containerd.sock",
            "/var/run/crio/crio.sock",
            "/run/k3s/containerd/containerd.sock",
        ],
    },
    Row {
        source: Source::Docker,
        gives: "name, image and labels of Docker's containers",
        key: "docker",
        sockets: &["/var/run/docker.sock"],
    },
    Row {
        source: Source::Podman,
        gives: "name, image and labels of Podman's containers",
        key: "podman",
        sockets: &["/run/podman/podman.sock"],
    },
    Row {
        source: Source::Systemd,
        gives: "invocation and start of units",
        key: "systemd",
        sockets: &["/run/dbus/system_bus_socket"],
    },
    Row { source: Source::Spire, gives: "attested SPIFFE ids of processes", key: "spire", sockets: &[] },
];

/// What a source is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A container, by its id.
    Container(String),
    /// A unit of the system's manager, in this cgroup with this folder.
    Unit { cgroup: CgroupKey, folder: PathBuf, name: String },
    /// A process.
    Process(ProcessKey),
}

/// A task and what it says of itself.
struct Endpoint {
    source: Source,
    questions: Option<mpsc::Sender<Question>>,
    state: SourceState,
    task: JoinHandle<()>,
}

/// What a task says.
#[derive(Debug)]
pub(super) enum Said {
    /// It can be asked, or not.
    State { endpoint: usize, state: SourceState, detail: String },
    /// An answer.
    Answer(Box<Answer>),
}

/// The running sources.
pub struct Sources {
    endpoints: Vec<Endpoint>,
    /// What was found at each endpoint.
    details: Vec<String>,
    said: mpsc::Receiver<Said>,
    /// Questions that found a full queue.
    unasked: u64,
}

impl Sources {
    /// Starts a task for each endpoint. Needs a tokio runtime.
    pub fn start(settings: &config::Identity, host: &str) -> Self {
        let (say, said) = mpsc::channel(MAX_ANSWERS);
        let mut sources = Self { endpoints: Vec::new(), details: Vec::new(), said, unasked: 0 };
        for path in &settings.cri {
            let cri = Cri::at(path, &settings.cluster);
            sources.add(Source::Cri, &say, |mouth, questions| link::run(cri, mouth, questions));
        }
        for (source, paths) in [(Source::Docker, &settings.docker), (Source::Podman, &settings.podman)] {
            for path in paths {
                let docker = Docker::at(source, path, &settings.cluster);
                sources.add(source, &say, |mouth, questions| link::run(docker, mouth, questions));
            }
        }
        for path in &settings.systemd {
            let systemd = Systemd::at(path);
            sources.add(Source::Systemd, &say, |mouth, questions| link::run(systemd, mouth, questions));
        }
        if let Some(path) = &settings.spire {
            let spire = Spire::at(path);
            sources.add(Source::Spire, &say, |mouth, questions| link::run(spire, mouth, questions));
        }
        if let Some(wanted) = kubernetes::Wanted::of(settings, host) {
            sources.add(Source::Kubernetes, &say, |mouth, _| kubernetes::run(wanted, mouth));
            if let Some(endpoint) = sources.endpoints.last_mut() {
                endpoint.questions = None; // it tells by itself
            }
        }
        sources
    }

    fn add<F>(
        &mut self,
        source: Source,
        say: &mpsc::Sender<Said>,
        task: impl FnOnce(link::Mouth, mpsc::Receiver<Question>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (ask, questions) = mpsc::channel(MAX_QUESTIONS);
        let mouth = link::Mouth::new(source, self.endpoints.len(), say.clone());
        self.endpoints.push(Endpoint {
            source,
            questions: Some(ask),
            state: SourceState::Waiting("starting".into()),
            task: tokio::spawn(task(mouth, questions)),
        });
        self.details.push(String::new());
    }

    /// The states to begin with: what is not wanted at all, and what has not connected yet.
    pub fn first(&self) -> impl Iterator<Item = Event> {
        Source::ALL.into_iter().map(|source| Event::Source { source, state: self.state(source) })
    }

    /// Waits for the next answer or change.
    pub async fn next(&mut self) -> Event {
        loop {
            match self.said.recv().await {
                Some(Said::Answer(answer)) => return Event::Identity(answer),
                Some(Said::State { endpoint, state, detail }) => {
                    let Some(known) = self.endpoints.get_mut(endpoint) else { continue };
                    known.state = state;
                    let source = known.source;
                    if let Some(known) = self.details.get_mut(endpoint) {
                        *known = detail;
                    }
                    return Event::Source { source, state: self.state(source) };
                }
                // Every task ended, or there is none: nothing will be said any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Asks those who can know about a cgroup that is seen for the first time.
    pub fn ask_about(&mut self, cgroup: CgroupKey, path: &str, folder: &Path) {
        let scope = Scope::of(path);
        if scope.container.len() == 64 {
            let wanted: &[Source] = match scope.runtime {
                "docker" => &[Source::Docker, Source::Cri],
                "podman" => &[Source::Podman],
                "containerd" | "crio" => &[Source::Cri],
                _ => &[Source::Cri, Source::Docker, Source::Podman],
            };
            for source in wanted {
                self.ask(*source, &Question::Container(scope.container.clone()));
            }
        } else if scope.container.is_empty() && !scope.unit.is_empty() && !scope.unit.contains('/') {
            let folder = folder.to_owned();
            self.ask(Source::Systemd, &Question::Unit { cgroup, folder, name: scope.unit });
        }
    }

    /// Asks who a process is, by attestation.
    pub fn ask_process(&mut self, process: ProcessKey) {
        self.ask(Source::Spire, &Question::Process(process));
    }

    fn ask(&mut self, source: Source, question: &Question) {
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.source == source) {
            if let Some(Err(mpsc::error::TrySendError::Full(_))) =
                endpoint.questions.as_ref().map(|queue| queue.try_send(question.clone()))
            {
                self.unasked += 1;
            }
        }
    }

    /// Questions that were never asked because their queue was full.
    pub fn unasked(&self) -> u64 {
        self.unasked
    }

    /// The best state among the endpoints of a source.
    fn state(&self, source: Source) -> SourceState {
        let states = || {
            self.endpoints.iter().filter(|endpoint| endpoint.source == source).map(|endpoint| &endpoint.state)
        };
        let best = states()
            .find(|state| **state == SourceState::Connected)
            .or_else(|| states().find(|state| matches!(state, SourceState::Waiting(_))))
            .or_else(|| states().next());
        best.cloned().unwrap_or_else(|| SourceState::Off("not configured".into()))
    }

    /// One entry for each source, for `status` records and `doctor`.
    pub fn told(&self) -> Vec<proto::v1::SourceState> {
        let mut told: BTreeMap<Source, Vec<proto::v1::SourceState>> = BTreeMap::new();
        for (endpoint, detail) in self.endpoints.iter().zip(&self.details) {
            told.entry(endpoint.source).or_default().push(entry(endpoint.source, &endpoint.state, detail));
        }
        for source in Source::ALL {
            let states = told.entry(source).or_default();
            // Of several sockets those that are not there are of no interest beside one that is.
            if states.iter().any(|state| state.state != "off") {
                states.retain(|state| state.state != "off");
            } else {
                let state = self.state(source);
                *states = vec![entry(source, &state, "")];
            }
        }
        told.into_values().flatten().collect()
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        for endpoint in &self.endpoints {
            endpoint.task.abort();
        }
    }
}

fn entry(source: Source, state: &SourceState, detail: &str) -> proto::v1::SourceState {
    let (state, reason) = match state {
        SourceState::Connected => ("connected", detail),
        SourceState::Waiting(reason) => ("waiting", reason.as_str()),
        SourceState::Off(reason) => ("off", reason.as_str()),
    };
    proto::v1::SourceState { name: source.name().into(), state: state.into(), reason: reason.into() }
}
