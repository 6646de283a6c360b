//! Where a credential came from: what processes were seen to open and inherit, joined by fingerprint.
//!
//! A source counts for a process if it opened it, was started with it, or descends from one that did so
//! before it made the child. Nothing else is evidence; what is not proven is `unknown`.

use std::collections::{HashMap, VecDeque};

use super::class::{Kind, Lifetime};
use super::extract::Found;
use super::fingerprint::Fingerprint;
use crate::event::{FileId, OpenedFile, ProcessKey, Store};

/// Processes whose sources are kept: living ones, and ended ones with living descendants.
pub const MAX_HOLDERS: usize = 65_536;
/// Sources kept of one process; the oldest makes room.
const MAX_SOURCES: usize = 32;
/// Ancestors looked at.
const MAX_DEPTH: usize = 64;
/// How long a process without living children is kept after its end, nanoseconds.
const GRACE_NS: u64 = 120_000_000_000;

const NOT_SEEN: &str = "the start of the process was not seen";
const OLDER: &str = "the process is older than the sensor: what it opened before is not known";
const NOTHING: &str = "nothing that the process or an ancestor was seen to open or inherit holds it";

/// What a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An opened file.
    File {
        /// The file.
        id: FileId,
        /// Its path as the opener saw it.
        path: String,
        /// What kind of place it is.
        store: Store,
        /// The client or platform it belongs to.
        owner: String,
    },
    /// The environment a process was started with.
    Environment,
    /// A service of the cloud that hands out credentials.
    Metadata {
        /// Its address.
        address: String,
    },
}

/// Something that credentials can come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is.
    pub what: What,
    /// When it was opened or inherited, at the latest.
    pub time_ns: u64,
    /// The same, at the earliest: what tells of opened files may not say when.
    pub after_ns: u64,
    /// The credentials in it.
    pub found: Vec<Found>,
    /// Why it was not read; empty when it was.
    pub unread: String,
    /// How often it was opened.
    pub opens: u64,
    /// How often that was told in a record.
    pub told: u64,
}

/// Where a credential came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// From here.
    Known {
        /// The source.
        source: &'a Source,
        /// The process that opened it or held it first.
        holder: ProcessKey,
        /// The variable or place in the file.
        place: &'a str,
        /// The path of another file with the same credential that could be meant as well.
        also: Option<&'a str>,
    },
    /// Not known, for this reason.
    Unknown(String),
}

#[derive(Debug, Default)]
struct Holder {
    parent: Option<ProcessKey>,
    /// When the parent made it.
    forked_ns: u64,
    sources: Vec<Source>,
    children: usize,
    ended: bool,
    /// It is among the ended ones that wait for their time.
    queued: bool,
    older: bool,
}

/// The sources of all processes.
#[derive(Debug, Default)]
pub struct Origins {
    holders: HashMap<ProcessKey, Holder>,
    /// Processes that ran before the sensor, with the resolution of their start.
    coarse: HashMap<u32, (ProcessKey, u64)>,
    /// Processes that ended, in order of their end.
    ended: VecDeque<(u64, ProcessKey)>,
    /// Processes not kept because the table was full.
    pub refused: u64,
}

impl Source {
    /// A file that was opened after the first and before the second time.
    pub fn file(after_ns: u64, time_ns: u64, file: OpenedFile) -> Self {
        let OpenedFile { id, path, store, owner, found, unread } = file;
        let what = What::File { id, path, store, owner };
        Self { what, time_ns, after_ns, found, unread, opens: 1, told: 0 }
    }

    /// An environment.
    pub fn environment(time_ns: u64, found: Vec<Found>, unread: String) -> Self {
        Self { what: What::Environment, time_ns, after_ns: time_ns, found, unread, opens: 0, told: 0 }
    }

    /// A service that hands out credentials.
    pub fn metadata(time_ns: u64, address: String) -> Self {
        let what = What::Metadata { address };
        Self { what, time_ns, after_ns: time_ns, found: Vec::new(), unread: String::new(), opens: 0, told: 0 }
    }

    fn holds(&self, fingerprint: &Fingerprint) -> Option<&Found> {
        self.found.iter().find(|found| found.fingerprint == *fingerprint)
    }

    fn is_file(&self) -> bool {
        matches!(self.what, What::File { .. })
    }

    /// Whether both are the same place with the same content.
    fn repeats(&self, older: &Self) -> bool {
        let same = match (&self.what, &older.what) {
            (What::File { id, .. }, What::File { id: known, .. }) => id == known,
            (What::Metadata { address }, What::Metadata { address: known }) => address == known,
            _ => false,
        };
        same && self.found == older.found && self.unread == older.unread
    }
}

impl Origins {
    /// Processes kept.
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// A process that ran before the sensor, with its start rounded down to `tick_ns`.
    pub fn running(&mut self, key: ProcessKey, tick_ns: u64, parent: u32) {
        if self.name(key) != key || self.holders.contains_key(&key) {
            return; // its fork was seen meanwhile
        }
        let parent = self.coarse.get(&parent).map(|(key, _)| *key);
        if self.insert(key, parent, key.start_ns) {
            self.coarse.insert(key.pid, (key, tick_ns.max(1)));
            if let Some(holder) = self.holders.get_mut(&key) {
                holder.older = true;
            }
        }
    }

    /// `parent` made `child`.
    pub fn fork(&mut self, parent: ProcessKey, child: ProcessKey, time_ns: u64) {
        let parent = self.name(parent);
        if self.name(child) == child && !self.holders.contains_key(&child) {
            self.insert(child, Some(parent), time_ns);
        }
    }

    /// A process ended.
    pub fn exit(&mut self, process: ProcessKey, time_ns: u64) {
        let process = self.name(process);
        if let Some(holder) = self.holders.get_mut(&process).filter(|holder| !holder.ended) {
            (holder.ended, holder.queued) = (true, true);
            self.ended.push_back((time_ns, process));
        }
    }

    /// Forgets processes that ended long ago and have no living descendants.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((ended, process)) = self.ended.front().copied() {
            if ended.saturating_add(GRACE_NS) > now_ns {
                break;
            }
            self.ended.pop_front();
            self.release(process);
        }
    }

    /// A process opened, inherited or asked something. False when the process is not known.
    pub fn add(&mut self, process: ProcessKey, source: Source) -> bool {
        let process = self.name(process);
        if !self.holders.contains_key(&process) && !self.insert(process, None, process.start_ns) {
            return false;
        }
        let Some(holder) = self.holders.get_mut(&process) else { return false };
        if let Some(known) = holder.sources.iter_mut().find(|known| source.repeats(known)) {
            known.opens += source.opens;
            return true;
        }
        if holder.sources.len() >= MAX_SOURCES {
            holder.sources.remove(0);
        }
        holder.sources.push(source);
        true
    }

    /// Whether a process already has this source, from an earlier open.
    pub fn knows(&self, process: ProcessKey, source: &Source) -> bool {
        let holder = self.holders.get(&self.name(process));
        holder.is_some_and(|holder| holder.sources.iter().any(|known| source.repeats(known)))
    }

    /// Whether two keys name one process.
    pub fn is_same(&self, one: ProcessKey, other: ProcessKey) -> bool {
        self.name(one) == self.name(other)
    }

    /// Opens that no record has told of, each with its process; they count as told from now on.
    pub fn untold(&mut self) -> Vec<(ProcessKey, Source, u64)> {
        let mut out = Vec::new();
        for (process, holder) in &mut self.holders {
            for source in holder.sources.iter_mut().filter(|source| source.opens > source.told) {
                out.push((*process, source.clone(), source.opens - source.told));
                source.told = source.opens;
            }
        }
        out.sort_by_key(|(process, source, _)| (source.time_ns, *process));
        out
    }

    /// Where the credential with this fingerprint came from, which `process` used at `before_ns`.
    pub fn origin(
        &self,
        process: ProcessKey,
        fingerprint: &Fingerprint,
        class: (Kind, Lifetime),
        before_ns: u64,
    ) -> Answer<'_> {
        // The same credential is evidence enough that the open came first where that can be.
        let levels: Vec<_> = self.lineage(process, before_ns, |source| source.after_ns).collect();
        for (at, (holder, sources)) in levels.iter().enumerate() {
            let holding = |file: bool| {
                let fits = sources.iter().filter(move |source| source.is_file() == file);
                fits.filter_map(|source| Some((*source, source.holds(fingerprint)?)))
            };
            if let Some((source, found)) = holding(true).max_by_key(|(source, _)| source.time_ns) {
                let others = holding(true).filter(|(other, _)| other.what != source.what);
                let also = others.filter_map(|(other, _)| path(other)).next();
                return Answer::Known { source, holder: *holder, place: &found.carrier, also };
            }
            if let Some((source, found)) = holding(false).max_by_key(|(source, _)| source.time_ns) {
                // The first of the ancestors that handed the variable down.
                let mut first = (source, *holder);
                for (ancestor, sources) in levels.iter().skip(at + 1) {
                    let same = |source: &&&Source| {
                        !source.is_file()
                            && source.holds(fingerprint).is_some_and(|held| held.carrier == found.carrier)
                    };
                    let Some(held) = sources.iter().find(same) else { break };
                    first = (held, *ancestor);
                }
                let files = levels.iter().skip(at).flat_map(|(_, sources)| sources.iter());
                let also = files
                    .filter(|source| source.holds(fingerprint).is_some())
                    .find_map(|source| path(source));
                return Answer::Known { source: first.0, holder: first.1, place: &found.carrier, also };
            }
        }
        let issued = matches!(class, (Kind::AwsSessionKey, _) | (Kind::OauthToken, Lifetime::ShortLived));
        let asked = levels.iter().find_map(|(holder, sources)| {
            let asked = |source: &&&Source| matches!(source.what, What::Metadata { .. });
            Some((*sources.iter().find(asked)?, *holder))
        });
        match asked.filter(|_| issued) {
            Some((source, holder)) => Answer::Known { source, holder, place: "", also: None },
            None => Answer::Unknown(self.reason(process, &levels)),
        }
    }

    /// The only credential that fits among those `process` could have used at `before_ns`.
    pub fn only(&self, process: ProcessKey, before_ns: u64, fits: impl Fn(&Found) -> bool) -> Option<Found> {
        let levels: Vec<_> = self.lineage(process, before_ns, |source| source.time_ns).collect();
        let found = levels.iter().flat_map(|(_, sources)| sources.iter()).flat_map(|source| &source.found);
        let mut fitting = found.filter(|found| found.kind != Kind::RefreshToken && fits(found));
        let first = fitting.next()?;
        fitting.all(|other| other.fingerprint == first.fingerprint).then(|| first.clone())
    }

    /// The process and its ancestors, each with the sources that existed, by the time `opened_ns` says, when it
    /// handed them down.
    fn lineage(
        &self,
        process: ProcessKey,
        before_ns: u64,
        opened_ns: impl Fn(&Source) -> u64,
    ) -> impl Iterator<Item = (ProcessKey, Vec<&Source>)> {
        let mut next = Some((self.name(process), before_ns));
        std::iter::from_fn(move || {
            let (process, before_ns) = next?;
            let holder = self.holders.get(&process)?;
            next = holder.parent.map(|parent| (parent, holder.forked_ns.min(before_ns)));
            let sources = holder.sources.iter().filter(|source| opened_ns(source) <= before_ns);
            Some((process, sources.collect()))
        })
        .take(MAX_DEPTH)
    }

    fn reason(&self, process: ProcessKey, levels: &[(ProcessKey, Vec<&Source>)]) -> String {
        let mut sources = levels.iter().flat_map(|(_, sources)| sources.iter());
        if let Some(source) = sources.find(|source| !source.unread.is_empty()) {
            let what = path(source).unwrap_or("its environment");
            return format!("{what} could not be read: {}", source.unread);
        }
        match self.holders.get(&self.name(process)) {
            None => NOT_SEEN,
            Some(holder) if holder.older => OLDER,
            Some(_) => NOTHING,
        }
        .to_owned()
    }

    /// The key under which a process is kept: one that ran before the sensor keeps its rounded start.
    fn name(&self, key: ProcessKey) -> ProcessKey {
        if self.holders.contains_key(&key) {
            return key;
        }
        match self.coarse.get(&key.pid) {
            Some((known, tick)) if known.start_ns / tick == key.start_ns / tick => *known,
            _ => key,
        }
    }

    fn insert(&mut self, key: ProcessKey, parent: Option<ProcessKey>, forked_ns: u64) -> bool {
        if self.holders.len() >= MAX_HOLDERS {
            match self.ended.pop_front() {
                Some((_, oldest)) => self.release(oldest),
                None => {
                    self.refused += 1;
                    return false;
                }
            }
        }
        let parent = parent.filter(|parent| *parent != key && self.holders.contains_key(parent));
        if let Some(holder) = parent.and_then(|parent| self.holders.get_mut(&parent)) {
            holder.children += 1;
        }
        self.holders.insert(key, Holder { parent, forked_ns, ..Holder::default() });
        true
    }

    /// Removes an ended process, and ancestors that only stayed for it. One with living children stays: the
    /// last of them takes it along.
    fn release(&mut self, process: ProcessKey) {
        if let Some(holder) = self.holders.get_mut(&process) {
            holder.queued = false;
        }
        let mut next = Some(process);
        while let Some(process) = next {
            let Some(holder) = self.holders.get(&process) else { return };
            if holder.children > 0 || !holder.ended || holder.queued {
                return;
            }
            next = holder.parent;
            self.holders.remove(&process);
            if self.coarse.get(&process.pid).is_some_and(|(known, _)| *known == process) {
                self.coarse.remove(&process.pid);
            }
            if let Some(parent) = next.and_then(|parent| self.holders.get_mut(&parent)) {
                parent.children = parent.children.saturating_sub(1);
            }
        }
    }
}

fn path(source: &Source) -> Option<&str> {
    match &source.what {
        What::File { path, .. } => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
