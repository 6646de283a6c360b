//! Opened credential files, environments, and the origin of what is seen on the wire.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proto::v1::{self, record::Body};

use super::Attribution;
use crate::credential::{Answer, Expectation, Found, Kind, Lifetime, Source, What, expectation};
use crate::event::{Access, FlowInfo, OpenedFile, Opener, ProcessKey, Store, Task};

/// How long a call waits for evidence of its credential's origin that is still on its way, nanoseconds.
const WAIT_NS: u64 = 250_000_000;
/// Calls that wait; more are told without waiting.
const MAX_WAITING: usize = 4096;

/// Addresses at which clouds hand out credentials: EC2, Google and Azure instances, ECS tasks, EKS pods.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

/// Why the opener of a file is not known.
const NO_OPENER: &str = "the process ended before it could be named";

/// A call whose credential has no origin yet.
pub(super) struct Waiting {
    until_ns: u64,
    time: u64,
    process: ProcessKey,
    started_ns: u64,
    call: Box<v1::ModelCall>,
}

/// Whether someone looks at credential files, and what waits for it.
#[derive(Default)]
pub(super) struct Watch {
    on: bool,
    waiting: VecDeque<Waiting>,
}

impl Attribution {
    pub(super) fn watching(&mut self) {
        self.watch.on = true;
    }

    /// Whether this is a request for credentials of the machine itself.
    pub(super) fn asks_metadata(&mut self, flow: &FlowInfo) -> bool {
        let asks = METADATA.contains(&flow.remote.ip());
        if asks {
            let source = Source::metadata(flow.opened_ns, flow.remote.ip().to_string());
            self.origins.add(flow.task.process, source);
        }
        asks
    }

    pub(super) fn environment(
        &mut self,
        time_ns: u64,
        process: ProcessKey,
        found: Vec<Found>,
        unread: String,
    ) {
        if !found.is_empty() || !unread.is_empty() {
            self.origins.add(process, Source::environment(time_ns, found, unread));
        }
    }

    pub(super) fn credential_file(
        &mut self,
        time_ns: u64,
        opener: Opener,
        access: Option<Access>,
        file: OpenedFile,
    ) {
        let after_ns = match &opener {
            Opener::Exact(_) => time_ns,
            Opener::Pid { after_ns, .. } => *after_ns,
        };
        let task = match opener {
            Opener::Exact(task) => {
                self.processes.seen(&task);
                Some(task)
            }
            Opener::Pid { pid, after_ns, started } => {
                self.processes.opener(pid, after_ns, time_ns, started).map(|process| Task {
                    process: process.key,
                    cgroup_id: process.cgroup_id.unwrap_or_default(),
                    uid: process.uid.unwrap_or_default(),
                    comm: String::new(),
                })
            }
        };
        let Some(task) = task else {
            self.counts.openers_unknown += 1;
            let process = v1::Process { unknown_reason: NO_OPENER.into(), ..Default::default() };
            let access = self.access(None, process, access, &Source::file(after_ns, time_ns, file), 1);
            return self.emit(time_ns, Body::CredentialAccess(Box::new(access)));
        };
        let mut source = Source::file(after_ns, time_ns, file);
        // Repeated opens are told together, by the sweep.
        let first = !self.origins.knows(task.process, &source);
        if first {
            source.told = source.opens;
            let process = self.process(&task);
            let access = self.access(Some(&task), process, access, &source, 1);
            self.emit(time_ns, Body::CredentialAccess(Box::new(access)));
        }
        // Writing takes nothing out of a file.
        if access != Some(Access::Write) {
            self.origins.add(task.process, source);
        }
    }

    /// Tells of opens that were not told yet.
    pub(super) fn repeated_opens(&mut self) {
        for (process, source, opens) in self.origins.untold() {
            let Some(known) = self.processes.get(process) else { continue };
            let task = Task {
                process: known.key,
                cgroup_id: known.cgroup_id.unwrap_or_default(),
                uid: known.uid.unwrap_or_default(),
                comm: String::new(),
            };
            let process = self.process(&task);
            let access = self.access(Some(&task), process, None, &source, opens);
            self.emit(self.now_ns, Body::CredentialAccess(Box::new(access)));
        }
    }

    fn access(
        &self,
        task: Option<&Task>,
        process: v1::Process,
        access: Option<Access>,
        source: &Source,
        count: u64,
    ) -> v1::CredentialAccess {
        let What::File { id, path, store, owner } = &source.what else {
            return v1::CredentialAccess::default();
        };
        let expectation = match task {
            Some(_) => expectation(owner, &process.exe, &process.args),
            None => Expectation::Unknown,
        };
        let credentials = source.found.iter().map(|found| {
            let mut credential = found.record();
            // Nothing was on the wire.
            credential.evidence.clear();
            credential
        });
        let provider = match source.found.as_slice() {
            [first, rest @ ..] if rest.iter().all(|found| found.provider == first.provider) => {
                first.provider.clone()
            }
            _ => String::new(),
        };
        v1::CredentialAccess {
            workload: task.map(|task| self.workload(task, &process)),
            process: Some(process),
            file: Some(v1::CredentialFile {
                path: path.clone(),
                device: id.device,
                inode: id.inode,
                r#type: store_name(*store).into(),
                provider,
                client: owner.clone(),
            }),
            mode: access.map_or("", Access::as_str).into(),
            expectation: expectation.as_str().into(),
            credentials: credentials.collect(),
            unread_reason: source.unread.clone(),
            count,
        }
    }

    /// Tells of a call, with the origin of its credential.
    pub(super) fn emit_call(
        &mut self,
        time: u64,
        process: ProcessKey,
        started_ns: u64,
        mut call: v1::ModelCall,
    ) {
        let known = self.join(process, started_ns, call.credential.as_mut());
        if known || self.watch.waiting.len() >= MAX_WAITING {
            return self.emit_at(time, Body::ModelCall(Box::new(call)));
        }
        let until_ns = self.now_ns.saturating_add(WAIT_NS);
        let call = Box::new(call);
        self.watch.waiting.push_back(Waiting { until_ns, time, process, started_ns, call });
    }

    /// Tells of the calls that have waited until `now_ns`.
    pub(super) fn tell_waiting(&mut self, now_ns: u64) {
        while self.watch.waiting.front().is_some_and(|first| first.until_ns <= now_ns) {
            let Some(Waiting { time, process, started_ns, mut call, .. }) = self.watch.waiting.pop_front()
            else {
                return;
            };
            self.join(process, started_ns, call.credential.as_mut());
            self.emit_at(time, Body::ModelCall(call));
        }
    }

    /// Says where a credential came from. False when that is not known, and may be in a moment.
    fn join(&self, process: ProcessKey, before_ns: u64, credential: Option<&mut v1::Credential>) -> bool {
        let Some(credential) = credential.filter(|_| self.watch.on) else { return true };
        let class = class_of(credential);
        let fingerprint = credential.fingerprint.clone().into();
        let answer = self.origins.origin(process, &fingerprint, class, before_ns);
        let known = matches!(answer, Answer::Known { .. });
        credential.origin = Some(self.origin(process, answer));
        known
    }

    fn origin(&self, process: ProcessKey, answer: Answer<'_>) -> v1::Origin {
        let (source, holder, place, also) = match answer {
            Answer::Unknown(reason) => {
                return v1::Origin { r#type: "unknown".into(), reason, ..Default::default() };
            }
            Answer::Known { source, holder, place, also } => (source, holder, place, also),
        };
        let mut origin = v1::Origin {
            first_seen: self.wall(source.time_ns),
            process: (!self.origins.is_same(holder, process)).then(|| self.ancestor(holder)),
            reason: also.map(|path| format!("the same credential is in {path}")).unwrap_or_default(),
            ..Default::default()
        };
        match &source.what {
            What::File { id, path, store, .. } => {
                origin.r#type = store_name(*store).into();
                origin.path.clone_from(path);
                (origin.device, origin.inode) = (Some(id.device), Some(id.inode));
            }
            What::Environment => {
                origin.r#type = "environment".into();
                origin.variable = place.to_owned();
            }
            What::Metadata { address } => {
                origin.r#type = "instance_metadata".into();
                origin.path.clone_from(address);
            }
        }
        origin
    }

    fn ancestor(&self, key: ProcessKey) -> v1::Ancestor {
        let image = self.processes.get(key).and_then(|process| process.image.as_ref());
        v1::Ancestor {
            pid: key.pid,
            start_time: self.processes.started(key),
            exe: image.map(|image| image.exe.clone()).unwrap_or_default(),
        }
    }

    /// The credential of a flow that could not be read: the only one its process can have for the provider.
    pub(super) fn inferred(&self, task: &Task, provider: &str, before_ns: u64) -> Option<v1::Credential> {
        if !self.watch.on || provider.is_empty() {
            return None;
        }
        let catalogue = &self.kit.catalogue;
        let issues = |found: &Found| {
            catalogue.provider(&found.provider).is_some_and(|issuer| issuer.name() == provider)
        };
        let found = self.origins.only(task.process, before_ns, issues)?;
        let mut credential = found.record();
        credential.evidence = "inferred".into();
        credential.carrier.clear();
        self.join(task.process, before_ns, Some(&mut credential));
        Some(credential)
    }
}

/// The names in records, read back.
fn class_of(credential: &v1::Credential) -> (Kind, Lifetime) {
    let kinds = [Kind::AwsSessionKey, Kind::OauthToken];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == credential.kind).unwrap_or(Kind::Unknown);
    let short = credential.lifetime == Lifetime::ShortLived.as_str();
    (kind, if short { Lifetime::ShortLived } else { Lifetime::Unknown })
}

fn store_name(store: Store) -> &'static str {
    match store {
        Store::File => "file",
        Store::KubernetesSecret => "kubernetes_secret",
        Store::DockerSecret => "docker_secret",
        Store::SystemdCredential => "systemd_credential",
    }
}
