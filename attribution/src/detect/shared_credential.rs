//! `shared-credential`: one fingerprint used from two cgroups or two unrelated process trees.
//!
//! Replicas of one workload, a parent and its child, and successive runs of one program in one place are
//! one identity: they are expected to share. An identity is a workload id where the cgroup names one;
//! processes of a user are told apart by their cgroup and by the tree they belong to. An owner that is
//! not known takes part in nothing: a finding never rests on a missing fact.

use std::collections::{BTreeMap, HashMap};

use proto::v1::{Credential, Finding, ModelCall, Participant, Process, Record, record::Body};

/// Name of the rule.
pub(crate) const RULE: &str = "shared-credential";
/// Credentials followed; the one used least recently makes room.
const MAX_CREDENTIALS: usize = 4096;
/// Identities followed for one credential; more are counted and not named.
const MAX_IDENTITIES: usize = 64;
/// Record numbers kept as evidence for one participant.
const MAX_EVIDENCE: usize = 8;
/// Ancestors above this depth from the top are the system's, not an agent's: two programs of one login
/// shell are related, two services of init are not.
const ROOT_PIDS: [u32; 2] = [0, 1];

#[derive(Debug)]
struct Identity {
    participant: Participant,
    /// Process generations of the tree, oldest ancestor first.
    lineage: Vec<(u32, u64)>,
    program: String,
}

#[derive(Debug, Default)]
struct Use {
    credential: Credential,
    identities: BTreeMap<String, Vec<Identity>>,
    count: u64,
    reported: usize,
    /// Its place in the order of use.
    used: u64,
}

/// The rule's state.
#[derive(Debug, Default)]
pub struct SharedCredential {
    uses: HashMap<String, Use>,
    /// Fingerprints by their last use.
    order: BTreeMap<u64, String>,
    next: u64,
    /// Credentials forgotten because the table was full.
    pub forgotten: u64,
}

impl SharedCredential {
    /// Credentials followed now.
    pub fn len(&self) -> usize {
        self.uses.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }

    /// Takes a record; a finding when it makes a credential shared, or shared by more than before.
    pub fn record(&mut self, record: &Record) -> Option<Finding> {
        let Some(Body::ModelCall(call)) = &record.body else { return None };
        let credential = call.credential.as_ref().filter(|credential| !credential.fingerprint.is_empty())?;
        let process = call.process.as_ref().filter(|process| process.unknown_reason.is_empty())?;
        let place = place(call, process)?;
        let seq = record.sensor.as_ref().map_or(0, |sensor| sensor.seq);

        let fingerprint = credential.fingerprint.clone();
        let used = self.used(fingerprint);
        used.credential = Credential { origin: None, carrier: String::new(), ..credential.clone() };
        used.count += 1;
        let total: usize = used.identities.values().map(Vec::len).sum();
        let lineage = lineage(process);
        let program = process.exe.clone();
        let here = used.identities.get_mut(&place);
        let known = here.and_then(|here| here.iter_mut().find(|known| related(known, &lineage, &program)));
        match known {
            Some(known) => known.again(record.time, seq),
            None if total < MAX_IDENTITIES => {
                used.identities.entry(place).or_default().push(Identity {
                    participant: Participant {
                        process: Some(process.clone()),
                        workload: call.workload.clone(),
                        evidence: vec![seq],
                        first_seen: record.time,
                        last_seen: record.time,
                        count: 1,
                    },
                    lineage,
                    program,
                });
            }
            None => return None,
        }
        used.finding()
    }

    /// The uses of a credential, now the one used last.
    fn used(&mut self, fingerprint: String) -> &mut Use {
        self.next += 1;
        if !self.uses.contains_key(&fingerprint)
            && self.uses.len() >= MAX_CREDENTIALS
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.uses.remove(&oldest);
            self.forgotten += 1;
        }
        let used = self.uses.entry(fingerprint.clone()).or_default();
        self.order.remove(&used.used);
        self.order.insert(self.next, fingerprint);
        used.used = self.next;
        used
    }
}

impl Identity {
    fn again(&mut self, time: u64, seq: u64) {
        let participant = &mut self.participant;
        participant.count += 1;
        participant.first_seen = participant.first_seen.min(time);
        participant.last_seen = participant.last_seen.max(time);
        if participant.evidence.len() < MAX_EVIDENCE && !participant.evidence.contains(&seq) {
            participant.evidence.push(seq);
        }
    }
}

impl Use {
    fn finding(&mut self) -> Option<Finding> {
        let identities: Vec<&Identity> = self.identities.values().flatten().collect();
        if identities.len() < 2 || identities.len() == self.reported {
            return None;
        }
        let state = if self.reported == 0 { "open" } else { "updated" };
        let places = self.identities.len();
        let names: Vec<String> = identities.iter().map(|identity| name(&identity.participant)).collect();
        let who = match names.as_slice() {
            [a, b] => format!("{a} and {b}"),
            [a, b, rest @ ..] => format!("{a}, {b} and {} more", rest.len()),
            _ => String::new(),
        };
        let shown = if self.credential.hint.is_empty() {
            self.credential.fingerprint.clone()
        } else {
            self.credential.hint.clone()
        };
        let finding = Finding {
            id: format!("{RULE}:{}", self.credential.fingerprint),
            rule: RULE.into(),
            severity: if places > 1 { "high" } else { "medium" }.into(),
            title: format!("One {} key ({shown}) is used by {who}", self.credential.provider),
            first_seen: identities.iter().map(|i| i.participant.first_seen).min().unwrap_or(0),
            last_seen: identities.iter().map(|i| i.participant.last_seen).max().unwrap_or(0),
            credential: Some(self.credential.clone()),
            participants: identities.iter().map(|identity| identity.participant.clone()).collect(),
            state: state.into(),
            next_step: "give each workload a key of its own, then revoke this one".into(),
            count: self.count,
        };
        self.reported = identities.len();
        Some(finding)
    }
}

/// Where an identity lives: its workload when the cgroup names one, else the cgroup.
fn place(call: &ModelCall, process: &Process) -> Option<String> {
    match &call.workload {
        Some(workload) if !workload.id.is_empty() && workload.kind != "user" => Some(workload.id.clone()),
        _ if !process.cgroup.is_empty() => Some(process.cgroup.clone()),
        _ => process.cgroup_id.map(|id| format!("cgroup {id}")),
    }
}

fn lineage(process: &Process) -> Vec<(u32, u64)> {
    let own = (process.pid, process.start_time);
    let mut line: Vec<_> = process
        .ancestors
        .iter()
        .rev()
        .map(|ancestor| (ancestor.pid, ancestor.start_time))
        .filter(|(pid, _)| !ROOT_PIDS.contains(pid))
        .collect();
    line.push(own);
    line
}

/// Whether a process belongs to a known identity of the same place: it shares an ancestor below init, or
/// it is a further run of the same program.
fn related(known: &Identity, lineage: &[(u32, u64)], program: &str) -> bool {
    known.program == program || known.lineage.iter().any(|generation| lineage.contains(generation))
}

fn name(participant: &Participant) -> String {
    let workload = participant.workload.as_ref().filter(|workload| workload.kind != "user");
    match (workload, &participant.process) {
        (Some(workload), _) if !workload.id.is_empty() => workload.id.clone(),
        (_, Some(process)) => {
            let program = process.exe.rsplit('/').next().unwrap_or_default();
            format!("{program}[{}] in {}", process.pid, process.cgroup)
        }
        _ => "unknown".into(),
    }
}

#[cfg(test)]
mod tests;
