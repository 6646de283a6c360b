//! Everything the rules know: bounded summaries that do not depend on the order of records.
//!
//! Each summary is a sum, a minimum, a maximum or a set with a fixed choice of what it keeps, so records may
//! come in any order and two states of disjoint records can be added up. A record counts once: its sensor,
//! boot and sequence number tell. Only when a whole table is full does the order matter, and then it is counted.

pub(super) mod access;
pub(super) mod apply;
pub(super) mod buckets;
pub(super) mod connection;
pub(super) mod credential;
pub(super) mod few;
pub(super) mod keyed;
pub(super) mod lane;
pub(super) mod memo;
pub(super) mod names;
pub(super) mod principal;
pub(super) mod report;
pub(super) mod seen;
pub(super) mod sensor;
pub(super) mod session;
pub(super) mod span;
pub(super) mod table;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use proto::v1;

use super::asks::Asks;
use access::Access;
use connection::Connections;
use credential::Cred;
use lane::Lanes;
use memo::Memo;
use names::{Names, key};
use principal::Principal;
use report::Reports;
use seen::Arrival;
use sensor::Sensor;
use session::Session;
use span::Mark;
use table::Table;

/// Credentials followed.
pub const MAX_CREDENTIALS: usize = 1 << 20;
/// Principals followed.
pub const MAX_PRINCIPALS: usize = 1 << 17;
/// Sessions followed.
pub const MAX_SESSIONS: usize = 1 << 17;
/// Unexpected readers of credential files followed.
pub const MAX_ACCESSES: usize = 1 << 16;
/// Connections whose names are compared.
pub const MAX_CONNECTIONS: usize = 1 << 15;
/// Boots of sensors followed.
pub const MAX_SENSORS: usize = 1 << 14;

/// The summaries.
#[derive(Debug)]
pub(super) struct State {
    pub(super) credentials: Table<Cred>,
    pub(super) principals: Table<Principal>,
    pub(super) sessions: Table<Session>,
    pub(super) accesses: Table<Access>,
    pub(super) connections: Connections,
    pub(super) sensors: HashMap<u64, Sensor, RandomState>,
    /// What collectors say of sensors.
    pub(super) reports: Reports,
    pub(super) names: Names,
    /// Latest time of any record.
    pub(super) now: u64,
    /// Earliest time of any record.
    pub(super) since: Option<u64>,
    pub(super) dropped: Dropped,
    /// What the rules ask of counts.
    pub(super) asks: Asks,
    /// Keys of the sensors that records came from lately, under a hash of host and boot id as in [`Lanes`].
    recent: Memo<(u64, u64)>,
    /// Keys of process trees seen lately, by sensor, id and start of their oldest process.
    roots: Memo<(u64, u32, u64, u64)>,
    /// What was added up and not told yet.
    lanes: Lanes,
    hasher: RandomState,
    /// Where names that are put together are written.
    scratch: String,
}

/// Records that the detector did not use, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Taken before.
    pub repeated: u64,
    /// Too far behind the latest of their sensor to tell whether they were taken before.
    pub late: u64,
    /// From more sensors than are followed.
    pub sensors: u64,
    /// Subjects forgotten because a table was full.
    pub forgotten: u64,
    /// Findings that were not told because too many are in force.
    pub findings: u64,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A fingerprint.
    Credential(Arc<str>),
    /// A principal.
    Principal(Arc<str>),
    /// A session, or a process tree without one.
    Session(Arc<str>),
    /// Somebody who opened a credential file.
    Access(Arc<str>),
    /// One boot of a sensor.
    Sensor(u64),
    /// Nothing alone: entitlements, exceptions, and names of connections.
    All,
}

/// How soon something is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Something new was learned.
    Now,
    /// With the next second of the records.
    Soon,
    /// With the next sweep: only counts and times went on.
    Later,
}

/// What a subject waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waits {
    pub(super) soon: bool,
    pub(super) later: bool,
}

impl State {
    /// Nothing known yet.
    pub(super) fn new(asks: Asks) -> Self {
        Self {
            credentials: Table::new(MAX_CREDENTIALS),
            principals: Table::new(MAX_PRINCIPALS),
            sessions: Table::new(MAX_SESSIONS),
            accesses: Table::new(MAX_ACCESSES),
            connections: Connections::new(MAX_CONNECTIONS),
            sensors: HashMap::default(),
            reports: Reports::default(),
            names: Names::default(),
            now: 0,
            since: None,
            dropped: Dropped::default(),
            asks,
            recent: Memo::default(),
            roots: Memo::default(),
            lanes: Lanes::default(),
            hasher: RandomState::default(),
            scratch: String::new(),
        }
    }

    /// Everything a finding can be about.
    pub(super) fn subjects(&self) -> impl Iterator<Item = Subject> + '_ {
        let named = |subject: fn(Arc<str>) -> Subject| move |name: &Arc<str>| subject(name.clone());
        (self.credentials.iter().map(|(name, _)| name).map(named(Subject::Credential)))
            .chain(self.principals.iter().map(|(name, _)| name).map(named(Subject::Principal)))
            .chain(self.sessions.iter().map(|(name, _)| name).map(named(Subject::Session)))
            .chain(self.accesses.iter().map(|(name, _)| name).map(named(Subject::Access)))
            .chain(self.sensors.keys().map(|key| Subject::Sensor(*key)))
            .chain([Subject::All])
    }

    /// What a subject waits for.
    pub(super) fn waits(&mut self, subject: &Subject) -> Option<&mut Waits> {
        match subject {
            Subject::Credential(name) => self.credentials.get_mut(name).map(|(_, known)| &mut known.waits),
            Subject::Principal(name) => self.principals.get_mut(name).map(|(_, known)| &mut known.waits),
            Subject::Session(name) => self.sessions.get_mut(name).map(|(_, known)| &mut known.waits),
            Subject::Access(name) => self.accesses.get_mut(name).map(|(_, known)| &mut known.waits),
            Subject::Sensor(key) => self.sensors.get_mut(key).map(|known| &mut known.waits),
            Subject::All => None,
        }
    }

    /// What was not used.
    pub(super) fn dropped(&self) -> Dropped {
        let subjects = self.credentials.forgotten + self.principals.forgotten + self.sessions.forgotten;
        let forgotten = subjects + self.accesses.forgotten + self.connections.forgotten;
        Dropped { forgotten, ..self.dropped }
    }

    /// Adds the state of other records; the number of records that were in both and are counted twice now. What both
    /// added up has to be told before.
    pub(super) fn merge(&mut self, other: Self) -> u64 {
        let mut both = 0;
        // Tables that make room have other places afterwards.
        self.lanes.clear();
        for (key, sensor) in other.sensors {
            if self.sensors.len() < MAX_SENSORS || self.sensors.contains_key(&key) {
                let known = self.sensors.entry(key).or_insert_with(|| Sensor {
                    host: sensor.host.clone(),
                    boot_id: sensor.boot_id.clone(),
                    ..Sensor::default()
                });
                both += known.merge(sensor);
            } else {
                self.dropped.sensors += 1;
            }
        }
        self.credentials.merge(other.credentials);
        self.principals.merge(other.principals);
        self.sessions.merge(other.sessions);
        self.accesses.merge(other.accesses);
        self.connections.merge(other.connections);
        self.reports.merge(other.reports);
        self.now = self.now.max(other.now);
        self.since = self.since.into_iter().chain(other.since).min();
        self.dropped.repeated += other.dropped.repeated;
        self.dropped.late += other.dropped.late;
        self.dropped.sensors += other.dropped.sensors;
        both
    }

    /// The name of a record when it is new; what was taken before counts as dropped.
    fn admit(&mut self, time: u64, sensor: Option<&v1::Sensor>) -> Option<Mark> {
        static NONE: v1::Sensor = v1::Sensor { host: String::new(), boot_id: String::new(), seq: 0 };
        let sensor = sensor.unwrap_or(&NONE);
        let hash = self.hasher.hash_one((&sensor.host, &sensor.boot_id));
        let name = match self.recent.get(hash, |(known, _)| *known == hash) {
            Some((_, name)) => *name,
            None => {
                let name = key((&sensor.host, &sensor.boot_id));
                if !self.sensors.contains_key(&name) {
                    if self.sensors.len() >= MAX_SENSORS {
                        self.dropped.sensors += 1;
                        return None;
                    }
                    let known = Sensor {
                        host: sensor.host.as_str().into(),
                        boot_id: sensor.boot_id.as_str().into(),
                        ..Sensor::default()
                    };
                    self.sensors.insert(name, known);
                }
                self.recent.put(hash, (hash, name));
                name
            }
        };
        let known = self.sensors.get_mut(&name)?;
        match known.seen.take(sensor.seq) {
            Arrival::New => {}
            Arrival::Repeated => {
                self.dropped.repeated += 1;
                return None;
            }
            Arrival::TooOld => {
                self.dropped.late += 1;
                return None;
            }
        }
        known.last = known.last.max(time);
        self.now = self.now.max(time);
        self.since = Some(self.since.map_or(time, |since| since.min(time)));
        Some(Mark { time, seq: sensor.seq, sensor: name })
    }
}
