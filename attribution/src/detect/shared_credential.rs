//! `shared-credential`: one fingerprint, two or more principals.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{At, Check, Cx, Draft, list, who_name};
use super::rules::{Param, Rule, Severity};
use super::state::credential::{Cred, Use};

/// Name of the rule.
pub(crate) const NAME: &str = "shared-credential";
pub(super) const RULE: Rule = Rule {
    name: NAME,
    severity: Severity::Info,
    meaning: "One credential is used by two or more identities; the further apart they are, the more severe: several \
              process trees of one principal (info), two agents of one user (low), two units, containers or control \
              groups (medium), two namespaces or hosts (high), two environments (critical).",
    silent: "Replicas of one principal, the same unit on several hosts of one environment, a parent and its \
             children, further runs of one program, and declared gateways are not sharing.",
    next_step: "give each workload a key of its own, then revoke this one; `keywitness revoke-plan` lists what breaks",
    params: &[Param {
        name: "window_days",
        default: 7,
        meaning: "uses longer ago than this no longer count, so a key that was handed over is not shared for ever",
    }],
    checks: &[Check::Credential(check)],
};
/// Length of a container id in hexadecimal digits: a name that nobody could tell.
const CONTAINER_ID: usize = 64;

/// How far apart two users are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Trees,
    Agents,
    Unresolved,
    Units,
    Hosts,
    Namespaces,
    Environments,
}

/// The users in one place: related process trees are one user.
type Trees<'a> = Vec<Vec<&'a Use>>;

fn check(cx: &Cx<'_>, at: At<'_>, fingerprint: &str, known: &Cred, out: &mut Vec<Draft>) {
    if known.uses.len() < 2 {
        return;
    }
    let window = at.days("window_days");
    let mut places: BTreeMap<&str, Trees<'_>> = BTreeMap::new();
    let named = names(known);
    for one in known.uses.values() {
        let place = place(one, &named);
        if cx.is_recent(one.span.last, window) && !cx.policy.is_gateway(place) {
            join(places.entry(place).or_default(), one);
        }
    }
    let Some(distance) = distance(cx, &places) else { return };
    let mut trees: Trees<'_> = places.into_values().flatten().collect();
    for tree in &mut trees {
        tree.sort_by_key(|one| one.evidence.marks().first().copied());
    }
    trees.sort_by_key(|tree| tree.first().and_then(|one| one.evidence.marks().first().copied()));
    let users: Vec<&Use> = trees.iter().flatten().copied().collect();
    let mut draft = cx.about_key(at, fingerprint.to_owned(), (fingerprint, known), &users);
    draft.participants = trees.iter().filter_map(|tree| participant(cx, tree)).collect();
    draft.severity = severity(distance);
    let names: Vec<String> =
        trees.iter().filter_map(|tree| tree.first()).map(|one| who_name(&one.place, &one.sample)).collect();
    draft.title = title(cx, distance, &cx.key_name(fingerprint, known), &names, &users);
    out.push(draft);
}

/// Principals by their control group, as far as their runtime has named them.
fn names(known: &Cred) -> BTreeMap<&str, &str> {
    let resolved = known.uses.values().filter(|one| !is_unresolved(role(&one.place).0));
    resolved.map(|one| (&*one.sample.cgroup, &*one.place)).filter(|(cgroup, _)| !cgroup.is_empty()).collect()
}

/// The principal of a use. A container that called before its runtime had named it is the one that was named
/// later: both have the control group of its id.
fn place<'a>(one: &'a Use, named: &BTreeMap<&str, &'a str>) -> &'a str {
    match named.get(&*one.sample.cgroup) {
        Some(place) if is_unresolved(role(&one.place).0) => place,
        _ => &one.place,
    }
}

/// Adds a user to the trees of its place; those it is related to become one.
fn join<'a>(trees: &mut Trees<'a>, one: &'a Use) {
    let related = |tree: &Vec<&Use>| tree.iter().any(|other| is_related(one, other));
    let (mut same, rest): (Trees<'_>, Trees<'_>) = std::mem::take(trees).into_iter().partition(related);
    *trees = rest;
    let mut tree: Vec<&Use> = same.drain(..).flatten().collect();
    tree.push(one);
    trees.push(tree);
}

/// Whether two users of one place are one: they descend from the same process, or are one container under two
/// names that runs the same program.
fn is_related(one: &Use, other: &Use) -> bool {
    // One container under two names: further runs of its program are one user, as in any other place.
    if one.place != other.place && one.sample.exe == other.sample.exe {
        return true;
    }
    one.roots.keys().any(|root| other.roots.keys().any(|other| other == root))
}

fn participant(cx: &Cx<'_>, tree: &[&Use]) -> Option<proto::v1::Participant> {
    let (first, rest) = tree.split_first()?;
    let mut participant = cx.participant(first);
    for one in rest {
        participant.last_seen = participant.last_seen.max(one.span.last);
        participant.first_seen = participant.first_seen.min(one.span.first);
        participant.count += one.span.count;
    }
    Some(participant)
}

fn distance(cx: &Cx<'_>, places: &BTreeMap<&str, Trees<'_>>) -> Option<Distance> {
    let mut environments = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    let mut roles: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for place in places.keys() {
        environments.extend(cx.environment(place));
        let (role, host) = role(place);
        roles.entry(role).or_default().insert(host);
        namespaces.insert(place.strip_prefix("k8s://").map(namespace));
    }
    if environments.len() > 1 {
        return Some(Distance::Environments);
    }
    if places.len() == 1 {
        let (place, trees) = places.first_key_value()?;
        let apart = if place.starts_with("user://") { Distance::Agents } else { Distance::Trees };
        return (trees.len() > 1).then_some(apart);
    }
    if roles.len() < 2 {
        return None;
    }
    if namespaces.len() > 1 {
        return Some(Distance::Namespaces);
    }
    let hosts: Vec<&BTreeSet<&str>> = roles.values().collect();
    let apart = |one: &BTreeSet<&str>| hosts.iter().any(|other| !one.is_empty() && one.is_disjoint(other));
    if namespaces.contains(&None) && hosts.iter().any(|one| apart(one)) {
        return Some(Distance::Hosts);
    }
    let resolved = roles.keys().filter(|role| !is_unresolved(role)).count();
    Some(if resolved == 0 { Distance::Unresolved } else { Distance::Units })
}

/// What a principal does, without the host it does it on where the same name means the same; and the host.
fn role(place: &str) -> (&str, &str) {
    let Some((scheme, rest)) = place.split_once("://") else { return (place, "") };
    let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
    match scheme {
        "k8s" => (place, ""),
        "user" | "cgroup" => (place, host),
        _ => (name, host),
    }
}

/// Cluster and namespace of a Kubernetes principal.
fn namespace(rest: &str) -> &str {
    rest.match_indices('/').nth(1).and_then(|(at, _)| rest.get(..at)).unwrap_or(rest)
}

fn is_unresolved(role: &str) -> bool {
    role.len() == CONTAINER_ID && role.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn severity(distance: Distance) -> Severity {
    match distance {
        Distance::Trees => Severity::Info,
        Distance::Agents | Distance::Unresolved => Severity::Low,
        Distance::Units => Severity::Medium,
        Distance::Hosts | Distance::Namespaces => Severity::High,
        Distance::Environments => Severity::Critical,
    }
}

fn title(cx: &Cx<'_>, distance: Distance, key: &str, names: &[String], users: &[&Use]) -> String {
    let who = list(names);
    match distance {
        Distance::Trees => {
            let programs: BTreeSet<&str> = users.iter().map(|one| super::check::base(&one.program)).collect();
            let programs: Vec<String> = programs.into_iter().map(str::to_owned).collect();
            let place = users.first().map(|one| &*one.place).unwrap_or_default();
            format!(
                "One {key} is used by {} unrelated process trees of {place}: {}",
                names.len(),
                list(&programs)
            )
        }
        Distance::Unresolved => format!("One {key} is used by {who}, containers whose names are not known"),
        Distance::Environments => {
            let environments: BTreeSet<&str> =
                users.iter().filter_map(|one| cx.environment(&one.place)).collect();
            let environments: Vec<String> = environments.into_iter().map(str::to_owned).collect();
            format!("One {key} is used in {} by {who}", list(&environments))
        }
        Distance::Hosts => format!("One {key} is used on different hosts by {who}"),
        Distance::Namespaces => format!("One {key} is used in different namespaces by {who}"),
        Distance::Agents | Distance::Units => format!("One {key} is used by {who}"),
    }
}
