//! The name of a workload: the most trusted answer counts, field by field.

use proto::v1;

use super::{Asked, Cgroup, Workloads};
use crate::identity::answer::{About, Facts, Pod, Source};
use crate::identity::cgroup::{Rank, Scope};

/// Sources that know a container by its id, in order of trust.
const CONTAINERS: [Source; 3] = [Source::Cri, Source::Docker, Source::Podman];

pub(super) fn workload(known: &Workloads, asked: &Asked<'_>) -> v1::Workload {
    let cgroup = asked.place.cgroup.and_then(|key| known.cgroups.get(&key));
    let scope = match cgroup {
        Some(cgroup) => cgroup.scope.clone(),
        None => Scope::of(asked.place.path),
    };
    let mut workload = match scope.rank() {
        _ if !asked.place.unknown_reason.is_empty() => {
            v1::Workload { unknown_reason: asked.place.unknown_reason.into(), ..Default::default() }
        }
        Rank::Container => container(known, asked, scope),
        Rank::Unit => unit(known, asked, scope),
        Rank::User => user(asked),
    };
    if let Some(cgroup) = cgroup.filter(|_| !workload.instance.is_empty()) {
        interval(&mut workload, cgroup);
    }
    if let Some(attested) = known.facts(&About::Process(asked.process), Source::Spire) {
        workload.spiffe_id.clone_from(&attested.spiffe_id);
        workload.spiffe_evidence = "attested".into();
    }
    workload
}

fn user(asked: &Asked<'_>) -> v1::Workload {
    let Some(uid) = asked.uid else {
        return v1::Workload { name: file_name(asked.exe), ..Default::default() };
    };
    v1::Workload {
        id: format!("user://{}/{uid}/{}", asked.host, asked.exe.trim_start_matches('/')),
        kind: "user".into(),
        name: file_name(asked.exe),
        evidence: "user".into(),
        ..Default::default()
    }
}

fn unit(known: &Workloads, asked: &Asked<'_>, scope: Scope) -> v1::Workload {
    let mut workload = v1::Workload {
        id: format!("systemd://{}/{}", asked.host, scope.unit),
        kind: "systemd".into(),
        name: scope.unit.clone(),
        unit: scope.unit,
        evidence: "cgroup_path".into(),
        instance: asked.place.cgroup.map(|key| format!("cgroup-{}", key.id)).unwrap_or_default(),
        ..Default::default()
    };
    let about = asked.place.cgroup.map(About::Cgroup);
    if let Some(facts) = about.and_then(|about| known.facts(&about, Source::Systemd)) {
        workload.evidence = "systemd".into();
        workload.instance.clone_from(&facts.instance);
        (workload.valid_from, workload.valid_until) = (facts.from, facts.until);
    }
    workload
}

fn container(known: &Workloads, asked: &Asked<'_>, scope: Scope) -> v1::Workload {
    let about = About::Container(scope.container.clone());
    let mut told: Vec<(Source, &Facts)> =
        CONTAINERS.into_iter().filter_map(|source| Some((source, known.facts(&about, source)?))).collect();
    let uid = Some(scope.pod_uid.clone())
        .filter(|uid| !uid.is_empty())
        .or_else(|| told.iter().find_map(|(_, facts)| facts.pod.as_ref().map(|pod| pod.uid.clone())));
    let pod_about = uid.filter(|uid| !uid.is_empty()).map(About::Pod);
    if let Some(facts) = pod_about.as_ref().and_then(|pod| known.facts(pod, Source::Kubernetes)) {
        told.insert(0, (Source::Kubernetes, facts));
    }
    let first = |get: fn(&Facts) -> &str| {
        told.iter().map(|(_, facts)| get(facts)).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
    };
    let mut workload = v1::Workload {
        instance: scope.container.clone(),
        container: scope.container.clone(),
        unit: scope.unit.clone(),
        image: first(|facts| &facts.image),
        labels: told
            .iter()
            .map(|(_, facts)| &facts.labels)
            .find(|labels| !labels.is_empty())
            .cloned()
            .unwrap_or_default(),
        ..Default::default()
    };
    // A container's own start and end, never those of its pod.
    let own = told.iter().find(|(source, _)| *source != Source::Kubernetes);
    (workload.valid_from, workload.valid_until) =
        own.map(|(_, facts)| (facts.from, facts.until)).unwrap_or_default();

    let pods: Vec<(Source, &Pod)> =
        told.iter().filter_map(|(source, facts)| Some((*source, facts.pod.as_ref()?))).collect();
    if !pods.is_empty() {
        in_pod(&mut workload, &pods);
        if pods.iter().all(|(_, pod)| pod.owner.is_none())
            && !pods.iter().any(|(source, _)| *source == Source::Kubernetes)
        {
            let why = known.silence(pod_about.as_ref().unwrap_or(&about), Source::Kubernetes);
            workload.unknown_reason = format!("what made the pod is not known ({why})");
        }
        if let Some((_, facts)) = told.iter().find(|(_, facts)| !facts.spiffe_id.is_empty()) {
            workload.spiffe_id.clone_from(&facts.spiffe_id);
            workload.spiffe_evidence = "derived".into();
        }
        return workload;
    }
    if let Some((source, facts)) = told.first() {
        workload.kind = source.name().into();
        workload.evidence = source.name().into();
        workload.id = match facts.principal.as_str() {
            "" => format!("{}://{}/{}", source.name(), asked.host, facts.name),
            principal => principal.to_owned(),
        };
        workload.name.clone_from(&facts.name);
        workload.container.clone_from(&facts.name);
        return workload;
    }
    unnamed(known, asked, &scope, &about, pod_about.as_ref(), &mut workload);
    workload
}

/// Names a container by its pod and what made it.
fn in_pod(workload: &mut v1::Workload, pods: &[(Source, &Pod)]) {
    let first = |get: fn(&Pod) -> &str| {
        pods.iter().map(|(_, pod)| get(pod)).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
    };
    let source = pods.first().map(|(source, _)| source.name()).unwrap_or_default();
    let name = first(|pod| &pod.name);
    let owner = pods.iter().find_map(|(_, pod)| pod.owner.clone());
    let by_labels = owner.as_ref().is_some_and(|owner| owner.by_labels);
    let (kind, owner) = owner.map_or_else(
        || ("pod".to_owned(), name.clone()),
        |owner| (owner.kind.to_ascii_lowercase(), owner.name),
    );
    workload.kind = "k8s".into();
    workload.evidence = if by_labels { format!("{source}_labels") } else { source.into() };
    workload.namespace = first(|pod| &pod.namespace);
    workload.id = format!("k8s://{}/{}/{kind}/{owner}", first(|pod| &pod.cluster), workload.namespace);
    workload.name = owner;
    workload.pod = name;
    workload.service_account = first(|pod| &pod.service_account);
    workload.node = first(|pod| &pod.node);
    let listed = pods.iter().flat_map(|(_, pod)| &pod.containers).find(|one| one.id == workload.instance);
    let container = first(|pod| &pod.container);
    match listed {
        Some(one) => {
            workload.container.clone_from(&one.name);
            if !one.image.is_empty() {
                workload.image.clone_from(&one.image);
            }
        }
        None if !container.is_empty() => workload.container = container,
        None => {}
    }
}

/// A container of which only the id is known: the id is all its name, and the reason says who is missing.
fn unnamed(
    known: &Workloads,
    asked: &Asked<'_>,
    scope: &Scope,
    about: &About,
    pod: Option<&About>,
    workload: &mut v1::Workload,
) {
    workload.kind = scope.runtime.into();
    workload.evidence = "cgroup_path".into();
    let host = asked.host;
    let container = &scope.container;
    (workload.id, workload.name) = match scope.runtime {
        // Here names are all there is.
        "lxc" | "nspawn" | "libvirt" => {
            workload.instance =
                asked.place.cgroup.map(|key| format!("cgroup-{}", key.id)).unwrap_or_default();
            (format!("{}://{host}/{container}", scope.runtime), container.clone())
        }
        "nomad" => {
            workload.instance.clone_from(&scope.task);
            workload.unknown_reason = "the job of a Nomad allocation is not asked for".into();
            (format!("nomad://{host}/{}/{container}", scope.task), container.clone())
        }
        runtime => {
            let sources: &[Source] = match runtime {
                "docker" => &[Source::Docker, Source::Cri],
                "containerd" | "crio" => &[Source::Cri],
                "podman" => &[Source::Podman],
                "ecs" | "garden" => &[],
                _ => &CONTAINERS,
            };
            let mut reasons: Vec<String> =
                sources.iter().map(|source| known.silence(about, *source)).collect();
            if let Some(pod) = pod {
                reasons.insert(0, known.silence(pod, Source::Kubernetes));
            }
            if reasons.is_empty() {
                reasons.push(format!("no source tells of {runtime}"));
            }
            workload.unknown_reason = format!("only the container's id is known ({})", reasons.join("; "));
            (format!("{runtime}://{host}/{container}"), String::new())
        }
    };
}

/// From when to when: by the source, else from the first sight of the cgroup to the last.
fn interval(workload: &mut v1::Workload, cgroup: &Cgroup) {
    if workload.valid_from == 0 {
        workload.valid_from = cgroup.seen;
    }
    if workload.valid_until == 0 {
        workload.valid_until = cgroup.ended.map(|(_, wall)| wall).unwrap_or_default();
    }
}

fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
