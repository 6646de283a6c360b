//! A record becomes part of the state.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use proto::v1::{
    self, Credential, CredentialAccess, Endpoint, ModelCall, Process, Record, Workload, record::Body,
};

use super::access::Named;
use super::buckets::{Amount, DAY_NS, HOUR_NS, period};
use super::credential::{Meta, Sample, Use};
use super::names::{Dest, Names, key, mixed};
use super::principal::{About, Principal, Unseen};
use super::session::SLOT_NS;
use super::span::Mark;
use super::{Known, Look, State, Subject, Waits};
use crate::detect::facts::{Who, nanos, who};

/// Operations whose requests are alike by nature.
const BATCH_OPERATIONS: [&str; 3] = ["embeddings", "rerank", "moderations"];
/// Files of people: their homes on Linux and macOS.
const HOMES: [&str; 2] = ["/home/", "/Users/"];

/// Receives what a record touched: the subject, what it waits for already, and how soon it should be looked at.
pub(in crate::detect) type Touch<'a> = &'a mut dyn FnMut(&dyn Fn() -> Subject, &mut Waits, Look);

/// One act of a principal: a call, or a flow that carried a credential.
struct Act<'a> {
    mark: Mark,
    host: &'a str,
    process: &'a Process,
    actor: Actor<'a>,
    workload: Option<&'a Workload>,
    amount: Amount,
    dest: [&'a str; 3],
    dest_key: u64,
    /// Key of the oldest process of the tree.
    root: u64,
}

/// Who acts.
enum Actor<'a> {
    /// As the record says.
    Told(Who<'a>),
    /// Somebody who said all the same before.
    Known(Known),
}

impl State {
    /// Takes a record; whether it is new.
    pub(in crate::detect) fn apply(&mut self, record: &Record, touch: Touch<'_>) -> bool {
        // What a detector found is no fact of the host.
        if matches!(record.body, None | Some(Body::Finding(_))) {
            return false;
        }
        let Some(mark) = self.admit(record.time, record.sensor.as_ref()) else { return false };
        let host = record.sensor.as_ref().map(|sensor| sensor.host.as_str()).unwrap_or_default();
        match &record.body {
            Some(Body::ModelCall(call)) => self.call(mark, host, call, touch),
            Some(Body::Flow(flow)) => self.flow(mark, host, flow, touch),
            Some(Body::CredentialAccess(access)) => self.access(mark, host, access, touch),
            Some(Body::Status(status)) => {
                if let Some(sensor) = self.sensors.get_mut(&mark.sensor) {
                    sensor.status(mark, status);
                    touch(&|| Subject::Sensor(mark.sensor), &mut sensor.waits, Look::Now);
                }
                if !status.reports.is_empty() {
                    status.reports.iter().for_each(|report| self.reports.add(report));
                    touch(&|| Subject::All, &mut Waits::default(), Look::Now);
                }
            }
            // A session says nothing of itself that its calls do not.
            Some(Body::Session(_) | Body::Finding(_)) | None => {}
        }
        true
    }

    fn call(&mut self, mark: Mark, host: &str, call: &ModelCall, touch: Touch<'_>) {
        let Some(process) = call.process.as_ref() else { return };
        let tokens = call.tokens.as_ref();
        let sum = |tokens: &v1::Tokens| tokens.input.unwrap_or(0).saturating_add(tokens.output.unwrap_or(0));
        let cost = call.cost.as_ref().filter(|cost| matches!(cost.currency.as_str(), "" | "USD"));
        let model = [&call.model_requested, &call.model_served].into_iter().find(|model| !model.is_empty());
        let amount = Amount {
            calls: 1,
            tokens: tokens.map_or(0, sum),
            nanos: cost.and_then(|cost| nanos(&cost.amount)).unwrap_or(0),
        };
        let dest = dest(call.endpoint.as_ref(), model.map(String::as_str).unwrap_or_default());
        let credential = call.credential.as_ref().filter(|one| !one.fingerprint.is_empty());
        let told = [&call.session, &call.session_id].into_iter().find(|id| !id.is_empty());
        let told = told.map(String::as_str);
        let workload = call.workload.as_ref();
        let hash =
            self.hasher.hash_one((mark.sensor, said(process, workload), dest, told, facts(credential)));
        let Some((actor, dest_key, root)) = self.actor(mark, host, call, dest, hash) else { return };
        let act = Act { mark, host, process, actor, workload, amount, dest, dest_key, root };
        let Some((place, principal)) = self.principal(&act, touch) else { return };
        let used = credential.and_then(|one| self.credential(&act, &place, one, cleartext(call), touch));
        let (key_name, credential) = used.unzip();
        let Some(session) = self.session(&act, &place, call, told, key_name, touch) else { return };
        if let Actor::Told(who) = &act.actor {
            let known = Known {
                hash,
                forgotten: self.forgotten(),
                principal,
                session,
                credential,
                user: key((&who.place, who.program)),
                dest_key,
                root,
                about_hash: about_hash(&act, &self.hasher),
            };
            self.known.put(hash, known);
        }
        if !call.flow_id.is_empty() {
            self.name(&act, &place, &call.flow_id, call.endpoint.as_ref());
        }
    }

    /// Who made a call, and the keys of where to and of the process tree: found out, or remembered under the `hash` of
    /// all that the record says of it.
    fn actor<'a>(
        &mut self,
        mark: Mark,
        host: &str,
        call: &'a ModelCall,
        dest: [&str; 3],
        hash: u64,
    ) -> Option<(Actor<'a>, u64, u64)> {
        let forgotten = self.forgotten();
        if let Some(known) = self.known.get(hash, |known| (known.hash, known.forgotten) == (hash, forgotten))
        {
            return Some((Actor::Known(*known), known.dest_key, known.root));
        }
        let who = who(host, call.process.as_ref(), call.workload.as_ref())?;
        let (dest_key, root) = (self.names.dest_key(dest), self.root(mark.sensor, host, &who));
        Some((Actor::Told(who), dest_key, root))
    }

    fn flow(&mut self, mark: Mark, host: &str, flow: &v1::Flow, touch: Touch<'_>) {
        let Some(who) = who(host, flow.process.as_ref(), flow.workload.as_ref()) else { return };
        let dest = dest(flow.endpoint.as_ref(), "");
        let (process, workload, amount) = (who.process, flow.workload.as_ref(), Amount::default());
        let (dest_key, root) = (self.names.dest_key(dest), self.root(mark.sensor, host, &who));
        let actor = Actor::Told(who);
        let act = Act { mark, host, process, actor, workload, amount, dest, dest_key, root };
        let Some((place, _)) = self.principal(&act, touch) else { return };
        self.coverage(&act, &place, flow, touch);
        // A flow repeats the credential of its calls; only an inferred one is news.
        let inferred = |one: &&Credential| one.evidence == "inferred" && !one.fingerprint.is_empty();
        if let Some(credential) = flow.credential.as_ref().filter(inferred) {
            self.credential(&act, &place, credential, false, touch);
        }
        if !flow.id.is_empty() {
            self.name(&act, &place, &flow.id, flow.endpoint.as_ref());
        }
    }

    /// Adds to the principal; its shared name, and where it is in its table.
    fn principal(&mut self, act: &Act<'_>, touch: Touch<'_>) -> Option<(Arc<str>, u32)> {
        let time = act.mark.time;
        let names = &mut self.names;
        let (at, mut news) = match &act.actor {
            Actor::Told(who) => self.principals.entry_place(&who.place)?,
            Actor::Known(known) => (known.principal, false),
        };
        let (name, known) = self.principals.at(at)?;
        known.span.add(time);
        if known.evidence.add(act.mark) {
            known.sample = sample(names, act.process);
        }
        if act.mark > known.about.0 {
            news |= known.about(act, names, &self.hasher);
        }
        if act.amount.calls > 0 {
            if let Some((dest, new)) =
                known.dests.entry(act.dest_key, || (names.dest(act.dest), Default::default()))
            {
                dest.1.add(time);
                news |= new;
            }
            known.hours.add(period(time, HOUR_NS), act.amount);
            known.days.add(period(time, DAY_NS), act.amount);
        }
        touch(&|| Subject::Principal(name.clone()), &mut known.waits, Look::if_new(news));
        Some((name.clone(), at))
    }

    /// Adds to the credential; its shared name, and where it is in its table.
    fn credential(
        &mut self,
        act: &Act<'_>,
        place: &Arc<str>,
        credential: &Credential,
        cleartext: bool,
        touch: Touch<'_>,
    ) -> Option<(Arc<str>, u32)> {
        let time = act.mark.time;
        let names = &mut self.names;
        let (at, mut news) = match &act.actor {
            Actor::Told(_) => self.credentials.entry_place(&credential.fingerprint)?,
            Actor::Known(known) => (known.credential?, false),
        };
        let (name, known) = self.credentials.at(at)?;
        known.span.add(time);
        let (mut changed, user) = match &act.actor {
            Actor::Told(who) => {
                let changed = known.learn(credential, names);
                let user = known.uses.entry_of(
                    |user| is_same(&user.place, place) && *user.program == *who.program,
                    || key((&who.place, who.program)),
                    || Use { place: place.clone(), program: names.share(who.program), ..Use::default() },
                );
                (changed, user)
            }
            // It says nothing new, and a user that was left out stays out.
            Actor::Known(it) => (false, known.uses.known(it.user).map(|user| (user, false))),
        };
        if let Some((user, new)) = user {
            // Who comes back after days may be out of what a rule looks at by now.
            news |= new || time > user.span.last.saturating_add(DAY_NS);
            changed |= user.roots.entry(act.root, || ()).is_some_and(|(_, new)| new);
            user.span.add(time);
            if user.evidence.add(act.mark) {
                user.sample = sample(names, act.process);
                changed = true;
            }
            if let Some((dest, new)) =
                user.dests.entry(act.dest_key, || (names.dest(act.dest), Default::default()))
            {
                dest.1.add(time);
                news |= new;
            }
            user.days.add(period(time, DAY_NS), act.amount);
            news |= user.odd(act, credential, cleartext, names);
        }
        let look = match (news, changed) {
            (true, _) => Look::Now,
            (_, true) => Look::Soon,
            // No rule about credentials counts.
            _ => Look::Later,
        };
        touch(&|| Subject::Credential(name.clone()), &mut known.waits, look);
        Some((name.clone(), at))
    }

    /// Adds to the session, `told` or that of a process tree; where it is in its table.
    fn session(
        &mut self,
        act: &Act<'_>,
        place: &Arc<str>,
        call: &ModelCall,
        told: Option<&str>,
        key_name: Option<Arc<str>>,
        touch: Touch<'_>,
    ) -> Option<u32> {
        let at = match (&act.actor, told) {
            (Actor::Known(known), _) => known.session,
            (Actor::Told(_), Some(id)) => self.sessions.entry_place(id)?.0,
            (Actor::Told(_), None) => {
                self.scratch.clear();
                self.scratch.push_str("tree-");
                push_hex(&mut self.scratch, act.root);
                self.sessions.entry_place(&self.scratch)?.0
            }
        };
        let (name, known) = self.sessions.at(at)?;
        known.span.add(act.mark.time);
        known.told |= told.is_some();
        if known.evidence.add(act.mark) {
            known.place = place.clone();
            known.sample = sample(&mut self.names, act.process);
        }
        known.used.add(act.amount);
        if let (Actor::Told(_), Some(one)) = (&act.actor, &key_name) {
            known.keys.entry_of(|known| is_same(known, one), || key(&**one), || one.clone());
        }
        let mut news = false;
        if call.orphaned {
            news = known.orphans.count == 0;
            known.orphans.add(act.mark.time);
            known.orphan_evidence.add(act.mark);
        }
        if !BATCH_OPERATIONS.contains(&call.operation.as_str())
            && let Some(slot) = known.slot(period(act.mark.time, SLOT_NS))
        {
            let size = call.tokens.as_ref().and_then(|tokens| tokens.input);
            let process = mixed(act.process.start_time, act.process.pid.into());
            let failed = call.status.is_some_and(|status| status >= 400);
            slot.add(failed, size.map(|size| mixed(act.dest_key, size)), process);
        }
        touch(&|| Subject::Session(name.clone()), &mut known.waits, Look::if_new(news));
        Some(at)
    }

    fn coverage(&mut self, act: &Act<'_>, place: &str, flow: &v1::Flow, touch: Touch<'_>) {
        let Some(tls) = &flow.tls else { return };
        let names = &mut self.names;
        let Some((name, known)) = self.principals.get_mut(place) else { return };
        let day = period(act.mark.time, DAY_NS);
        let one = Amount { calls: 1, ..Amount::default() };
        if tls.coverage != "none" {
            known.read.add(day, one);
            return;
        }
        let mut news = false;
        let unseen = key((act.dest_key, &tls.coverage_reason));
        if let Some((unseen, new)) = known.unseen.entry(unseen, || Unseen {
            dest: names.dest(act.dest),
            reason: names.share(&tls.coverage_reason),
            ..Unseen::default()
        }) {
            unseen.span.add(act.mark.time);
            unseen.days.add(day, one);
            news = new;
        }
        touch(&|| Subject::Principal(name.clone()), &mut known.waits, Look::if_new(news));
    }

    /// Notes the name that a connection goes by.
    fn name(&mut self, act: &Act<'_>, place: &Arc<str>, flow: &str, endpoint: Option<&Endpoint>) {
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.host.is_empty()) else { return };
        let by_request = endpoint.host_evidence == "http_host";
        let (hash, forgotten) = (self.hasher.hash_one((flow, act.mark.sensor)), self.connections.forgotten);
        let at = match self.flows.get(hash, |known| (known.0, known.1) == (hash, forgotten)) {
            Some((.., at)) => *at,
            None => {
                self.scratch.clear();
                self.scratch.push_str(flow);
                self.scratch.push('/');
                push_hex(&mut self.scratch, act.mark.sensor);
                let Some((at, _)) = self.connections.entry_place(&self.scratch) else { return };
                self.flows.put(hash, (hash, self.connections.forgotten, at));
                at
            }
        };
        let Some((_, known)) = self.connections.at(at) else { return };
        known.span.add(act.mark.time);
        if known.evidence.add(act.mark) {
            known.place = place.clone();
            known.sample = sample(&mut self.names, act.process);
        }
        let own = if by_request { &mut known.request } else { &mut known.network };
        Named::note(own, act.mark, [&endpoint.provider, &endpoint.host], &mut self.names);
        Named::note(&mut known.request, act.mark, ["", &endpoint.request_host], &mut self.names);
        Named::note(&mut known.address, act.mark, ["", &endpoint.dns_host], &mut self.names);
    }

    fn access(&mut self, mark: Mark, host: &str, access: &CredentialAccess, touch: Touch<'_>) {
        let Some(file) = access.file.as_ref().filter(|_| access.expectation == "unexpected") else { return };
        let Some(who) = who(host, access.process.as_ref(), access.workload.as_ref()) else { return };
        let name = format!("{} {host}:{} {}", who.place, file.path, who.process.exe);
        let act = Act {
            mark,
            host,
            workload: access.workload.as_ref(),
            amount: Amount::default(),
            dest: [""; 3],
            dest_key: 0,
            root: 0,
            process: who.process,
            actor: Actor::Told(who),
        };
        let Some((place, _)) = self.principal(&act, touch) else { return };
        let names = &mut self.names;
        let Some((name, known, news)) = self.accesses.entry(&name) else { return };
        known.span.add(mark.time);
        known.span.count += access.count.saturating_sub(1);
        if known.evidence.add(mark) {
            known.sample = sample(names, act.process);
            (known.place, known.path, known.client) =
                (place, names.share(&file.path), names.share(&file.client));
        }
        touch(&|| Subject::Access(name.clone()), &mut known.waits, Look::if_new(news));
    }

    /// Key of the oldest process of a tree that means something.
    fn root(&mut self, sensor: u64, host: &str, who: &Who<'_>) -> u64 {
        let (pid, start) = who.root;
        let hash = self.hasher.hash_one((sensor, pid, start));
        if let Some((.., root)) =
            self.roots.get(hash, |known| (known.0, known.1, known.2) == (sensor, pid, start))
        {
            return *root;
        }
        let root = key((host, pid, start));
        self.roots.put(hash, (sensor, pid, start, root));
        root
    }
}

impl Look {
    fn if_new(news: bool) -> Self {
        if news { Self::Now } else { Self::Soon }
    }
}

impl Principal {
    /// Takes over what a later record says of the workload; whether it is something else than before.
    fn about(&mut self, act: &Act<'_>, names: &mut Names, hasher: &RandomState) -> bool {
        let Some(workload) = act.workload else { return false };
        self.about.0 = act.mark;
        // Compared by a hash with a key that nobody knows: to compare the texts would fetch each from memory.
        let hash = match &act.actor {
            Actor::Known(known) => known.about_hash,
            Actor::Told(_) => about_hash(act, hasher),
        };
        let same = std::mem::replace(&mut self.about_hash, hash) == hash;
        if !same {
            let (id, kind, namespace, name, service_account, unit, spiffe_id, labels) = lasting(workload);
            let workload = Workload {
                id: id.clone(),
                kind: kind.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
                service_account: service_account.clone(),
                unit: unit.clone(),
                spiffe_id: spiffe_id.clone(),
                labels: labels.clone(),
                ..Workload::default()
            };
            self.about.1 = About { host: names.share(act.host), workload };
        }
        !same
    }
}

/// A hash of what an act says of its workload.
fn about_hash(act: &Act<'_>, hasher: &RandomState) -> u64 {
    hasher.hash_one((act.host, act.workload.map(lasting)))
}

type Lasting<'a> = (
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a String,
    &'a std::collections::BTreeMap<String, String>,
);

/// What holds for every instance of a workload.
fn lasting(workload: &Workload) -> Lasting<'_> {
    let Workload { id, kind, namespace, name, service_account, unit, spiffe_id, labels, .. } = workload;
    (id, kind, namespace, name, service_account, unit, spiffe_id, labels)
}

impl super::credential::Cred {
    /// Takes over what a record says of the credential itself; whether that is a change.
    fn learn(&mut self, credential: &Credential, names: &mut Names) -> bool {
        let known = &self.meta;
        let told = (&*known.provider, &*known.kind, &*known.lifetime, &*known.hint);
        let new = (
            credential.provider.as_str(),
            credential.kind.as_str(),
            credential.lifetime.as_str(),
            credential.hint.as_str(),
        );
        let changed = new > told;
        if changed {
            let (provider, kind, lifetime, hint) = new;
            self.meta = Meta {
                provider: names.share(provider),
                kind: names.share(kind),
                lifetime: names.share(lifetime),
                hint: names.share(hint),
            };
        }
        changed
    }
}

impl Use {
    /// Notes what some rule objects to; whether it is new.
    fn odd(&mut self, act: &Act<'_>, credential: &Credential, cleartext: bool, names: &mut Names) -> bool {
        let mut news = false;
        if credential.carrier.starts_with("query:") || credential.carrier.starts_with("path:") {
            let span = &mut self.odd.get_or_insert_default().in_url;
            news |= span.count == 0;
            span.add(act.mark.time);
        }
        if cleartext {
            let span = &mut self.odd.get_or_insert_default().cleartext;
            news |= span.count == 0;
            span.add(act.mark.time);
        }
        if !credential.provider.is_empty() && credential.provider != act.dest[0] {
            let wrong = &mut self.odd.get_or_insert_default().wrong;
            let [provider, host, _] = act.dest;
            let dest = [provider, host, ""];
            if let Some((wrong, new)) = wrong.entry(key(dest), || (names.dest(dest), Default::default())) {
                wrong.1.add(act.mark.time);
                news |= new;
            }
        }
        if let Some(origin) = &credential.origin
            && HOMES.iter().any(|home| origin.path.starts_with(home))
        {
            let path = names.share(&origin.path);
            news |= self.odd.get_or_insert_default().came_from(path);
        }
        news
    }
}

/// Adds a number as sixteen hexadecimal digits.
fn push_hex(text: &mut String, number: u64) {
    let digit = |shift: u32| char::from_digit((number >> shift & 0xf) as u32, 16).unwrap_or_default();
    text.extend((0..u64::BITS).step_by(4).rev().map(digit));
}

/// What a record says of who acts, as far as anything is made of it.
fn said(process: &Process, workload: Option<&Workload>) -> impl Hash {
    let Process { pid, start_time, exe, uid, cgroup, cgroup_id, unknown_reason, .. } = process;
    let ancestors = Ancestors(&process.ancestors);
    ((pid, start_time, exe, uid, cgroup, cgroup_id, unknown_reason, ancestors), workload.map(lasting))
}

/// What a record says of a credential itself.
fn facts(credential: Option<&Credential>) -> impl Hash {
    credential.map(|one| (&one.fingerprint, &one.provider, &one.kind, &one.lifetime, &one.hint))
}

/// Ancestors, to be hashed.
struct Ancestors<'a>(&'a [v1::Ancestor]);

impl Hash for Ancestors<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.0.len());
        for one in self.0 {
            (one.pid, one.start_time, &one.exe).hash(state);
        }
    }
}

/// Whether two texts are the same; mostly they are in the same place, too.
fn is_same(one: &Arc<str>, other: &Arc<str>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// The names that findings can be about.
fn dest<'a>(endpoint: Option<&'a Endpoint>, model: &'a str) -> [&'a str; 3] {
    let named = |endpoint: &'a Endpoint| [endpoint.provider.as_str(), endpoint.host.as_str(), model];
    endpoint.map_or(["", "", model], named)
}

/// Whether a call went over the network without encryption.
fn cleartext(call: &ModelCall) -> bool {
    let Some(endpoint) = call.endpoint.as_ref().filter(|_| call.binding == "cleartext") else { return false };
    let own = call.source.as_ref().is_some_and(|source| source.address == endpoint.address);
    let address = endpoint.address.parse::<std::net::IpAddr>();
    !own && address.is_ok_and(|address| !address.is_loopback())
}

fn sample(names: &mut Names, process: &Process) -> Sample {
    Sample {
        generation: (process.pid, process.start_time),
        uid: process.uid,
        exe: names.share(&process.exe),
        cgroup: names.share(&process.cgroup),
    }
}

impl Dest {
    /// Host and provider for a sentence.
    pub(in crate::detect) fn place(&self) -> String {
        match (&*self.provider, &*self.host) {
            ("", host) => host.to_owned(),
            (provider, "") => provider.to_owned(),
            (provider, host) => format!("{provider} ({host})"),
        }
    }
}
