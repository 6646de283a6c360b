//! The one thread that stores: batches of all sensors in, judged, appended, made durable together, answered, and
//! then shown to the detectors.
//!
//! One writer for everything keeps duplicates out without locks: what a batch may add is judged when it is
//! written, after every batch before it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ::metrics::Tally;
use attribution::policy::Policy;
use flow_log::{Position, Reader, writer::Options};
use proto::v1::{Ack, Finding, record::Body};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    archive::{Archive, ArchiveError, Folders, calendar, folder},
    batch::Checked,
    fleet::{Fleet, Kind},
    intake::{Gap, Intake, Judged},
    peer::Peer,
    state::{FILE, Progress, State, Stream},
};

/// Folder of the logs in the folder of state.
pub const RECORDS: &str = "records";
/// Batches that wait to be stored; sensors wait when it is full.
const QUEUE: usize = 64;
/// Batches that are made durable together.
const GROUP: usize = 128;
/// Lines and their bytes that are made durable together; with one batch more still below the limits of a log's
/// writer.
const GROUP_LINES: usize = 8 * 1024;
const GROUP_BYTES: usize = 3 * 1024 * 1024;
/// How often time passes for the detectors.
const TICK: Duration = Duration::from_millis(250);
/// Time after which progress is saved; what is newer is read from the archive at the next start.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often silent sensors are reported.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// The thread is taken for stuck when it takes longer to answer: longer than a slow disk makes it wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A sensor that is silent for so long was taken away.
const GONE_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// Records of the collector itself that wait while a tenant's log cannot be written; what comes then is found
/// again after a restart.
const MAX_UNTOLD: usize = 4096;
/// Records of each tenant from which its detector is restored, the newest. Two uses of one key that lie further
/// apart than this, with a restart between them, are not seen together.
const RESTORED: usize = 1_000_000;

/// Why a batch is not stored.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The archive cannot be written, for now.
    #[error("the collector cannot store records now; send them again later")]
    Full,
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopped,
}

/// Why the store does not start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The state file.
    #[error("{path}: {source}")]
    State {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: rusqlite::Error,
    },
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// How to store.
pub struct Settings {
    /// Folder of state.
    pub folder: PathBuf,
    /// Name of this collector in its own records.
    pub host: String,
    /// Retention and the like of the logs.
    pub log: Options,
    /// Time without a record after which a sensor is reported.
    pub silent_after: Duration,
    /// What the detectors judge by.
    pub policy: Arc<Policy>,
}

/// What the store says of itself.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Whether the last batches could not be stored.
    pub failing: bool,
    /// Each tenant by name.
    pub tenants: BTreeMap<String, Tenant>,
}

/// What the store says of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Tenant {
    /// Sensors that are not silent.
    pub heard: usize,
    /// Sensors that are, unless they were taken away.
    pub silent: usize,
    /// What was wrong with sensors since the start: of [`Kind::ALL`] each.
    pub reports: [u64; Kind::ALL.len()],
    /// What was stored since the start.
    pub stored: Stored,
    /// How far the log reaches.
    pub position: Position,
}

/// What was stored of a tenant's sensors since the start.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Records.
    pub records: u64,
    /// Their size as JSON, bytes.
    pub bytes: u64,
    /// Records that came again and were left out.
    pub duplicates: u64,
    /// Numbers that were skipped.
    pub missing: u64,
    /// Calls and the fleet's own findings; clones count together.
    pub tally: Tally,
}

enum Request {
    Batch(Peer, Checked, oneshot::Sender<Result<Ack, StoreError>>),
    Ask(oneshot::Sender<Summary>),
    Suspect(Peer, Kind, String),
    Policy(Arc<Policy>),
}

/// A judged batch that waits for its answer.
struct Waiting {
    stream: Stream,
    judged: Judged,
    reply: oneshot::Sender<Result<Ack, StoreError>>,
}

/// Hands batches to the thread. It ends when every one of these is dropped.
#[derive(Clone)]
pub struct Store(mpsc::Sender<Request>);

/// The thread's own.
pub struct Writer {
    archive: Folders,
    state: State,
    settings: Settings,
    id: String,
    intake: Intake,
    fleets: BTreeMap<String, Fleet>,
    /// Records of the collector itself that could not be stored, by tenant.
    untold: BTreeMap<String, Vec<Body>>,
    stored: BTreeMap<String, Stored>,
    /// Whether the last attempt to store failed.
    failing: bool,
    /// Streams whose progress is not saved yet.
    changed: HashSet<Stream>,
    started: Instant,
    saved: Instant,
    ticked: Instant,
    beat: Instant,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let but = if self.failing { "; the storage fails, sensors keep their records" } else { "" };
        let sensors: usize = self.tenants.values().map(|tenant| tenant.heard).sum();
        let stored: u64 = self.tenants.values().map(|tenant| tenant.stored.records).sum();
        write!(f, "{sensors} sensors; {stored} records stored{but}")
    }
}

impl Store {
    /// Stores a batch; the acknowledgement means that it is durable.
    pub async fn batch(&self, peer: Peer, batch: Checked) -> Result<Ack, StoreError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Batch(peer, batch, reply);
        self.0.send(request).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Notes something wrong with a sensor.
    pub async fn suspect(&self, peer: &Peer, kind: Kind, detail: String) {
        // The collector is stopping when this fails.
        let _ = self.0.send(Request::Suspect(peer.clone(), kind, detail)).await;
    }

    /// What the thread says; nothing when it does not answer within [`ANSWER_WITHIN`].
    pub async fn ask(&self) -> Option<Summary> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(Request::Ask(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(ANSWER_WITHIN, asked).await.ok()?
    }

    /// Batches that wait, and how many can.
    pub fn queue(&self) -> (usize, usize) {
        let limit = self.0.max_capacity();
        (limit - self.0.capacity(), limit)
    }

    /// Puts another policy in force.
    pub async fn policy(&self, policy: Arc<Policy>) {
        let _ = self.0.send(Request::Policy(policy)).await;
    }
}

impl Writer {
    /// Opens state and archive, and reads what the state does not know yet.
    pub fn open(settings: Settings) -> Result<Self, OpenError> {
        let path = settings.folder.join(FILE);
        let failed = |source| OpenError::State { path: path.clone(), source };
        let state = State::open(&path).map_err(failed)?;
        let id = state.id().map_err(failed)?;
        let root = settings.folder.join(RECORDS);
        let archive = Folders::open(&root, settings.log.clone(), &settings.host, &id)?;
        let mut intake = Intake::new(state.streams().map_err(failed)?);
        let (mut fleets, mut changed) = (BTreeMap::new(), HashSet::new());
        for (tenant, _) in archive.positions() {
            let position = state.position(&tenant).map_err(failed)?;
            for line in archive.newer(&tenant, position)? {
                let Ok(record) = line.record() else { continue };
                let Some((host, boot_id, seq)) = record.place().filter(|(_, boot, _)| *boot != id) else {
                    continue;
                };
                let peer = Peer { tenant: tenant.clone(), host: host.to_owned() };
                let stream = Stream { peer, boot_id: boot_id.to_owned() };
                intake.stored(&stream, seq, calendar());
                changed.insert(stream);
            }
            let mut fleet = Fleet::new(settings.policy.clone(), &settings.host, &id, calendar());
            restore(&mut fleet, &folder(&root, &tenant))?;
            fleets.insert(tenant, fleet);
        }
        let now = Instant::now();
        let mut writer = Self {
            archive,
            state,
            settings,
            id,
            intake,
            fleets,
            untold: BTreeMap::new(),
            stored: BTreeMap::new(),
            failing: false,
            changed,
            started: now,
            saved: now,
            ticked: now,
            beat: now,
        };
        writer.save().map_err(failed)?;
        Ok(writer)
    }

    /// The id of this collector, which its own records have as boot.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts the thread; its end says whether everything could be closed in order.
    pub fn start(self) -> std::io::Result<(Store, std::thread::JoinHandle<bool>)> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || runtime.block_on(self.run(receiver)))?;
        Ok((Store(sender), thread))
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> bool {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            match timeout(TICK, requests.recv_many(&mut group, GROUP)).await {
                Ok(0) => break,
                Ok(_) => self.take(group.drain(..)),
                Err(_) => {}
            }
            self.tick();
            if self.saved.elapsed() >= SAVE_EVERY {
                self.try_save();
            }
        }
        self.try_save();
        self.archive.close()
    }

    fn take(&mut self, requests: impl Iterator<Item = Request>) {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut peers = HashSet::new();
        let (mut lines, mut bytes) = (0, 0);
        for request in requests {
            match request {
                Request::Batch(peer, batch, reply) => {
                    // What is new in it may depend on what becomes of an earlier one.
                    let again = !peers.insert(peer.clone());
                    if again || lines >= GROUP_LINES || bytes >= GROUP_BYTES {
                        self.finish(mem::take(&mut waiting));
                        (lines, bytes) = (0, 0);
                        peers.clear();
                        peers.insert(peer.clone());
                    }
                    let (stream, judged) = self.intake.judge(&peer, batch);
                    lines += judged.fresh.len();
                    bytes += judged.fresh.iter().map(|record| record.line.len()).sum::<usize>();
                    waiting.push(Waiting { stream, judged, reply });
                }
                Request::Ask(reply) => {
                    // Who asked may have given up.
                    let _ = reply.send(self.summary());
                }
                Request::Suspect(peer, kind, detail) => {
                    self.fleet(&peer.tenant).suspect(&peer.host, kind, detail, calendar());
                }
                Request::Policy(policy) => {
                    self.fleets.values_mut().for_each(|fleet| fleet.set_policy(policy.clone()));
                    self.settings.policy = policy;
                }
            }
        }
        self.finish(waiting);
    }

    /// Stores judged batches of different streams; those of one tenant are durable together, or none of them is.
    fn finish(&mut self, waiting: Vec<Waiting>) {
        let mut tenants: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        for one in waiting {
            tenants.entry(one.stream.peer.tenant.clone()).or_default().push(one);
        }
        for (tenant, waiting) in tenants {
            let fresh = waiting.iter().flat_map(|one| &one.judged.fresh);
            let lines: Vec<(&[u8], u64)> = fresh.map(|one| (&*one.line, one.record.time)).collect();
            let stored = match lines.is_empty() {
                true => Ok(()),
                false => self.archive.append(&tenant, &lines),
            };
            self.failing = stored.is_err();
            match stored {
                Ok(()) => self.settle(&tenant, waiting),
                Err(error) => {
                    tracing::error!(tenant, %error, "records are not stored");
                    for one in waiting {
                        // The connection may be gone.
                        let _ = one.reply.send(Err(StoreError::Full));
                    }
                }
            }
        }
    }

    /// Batches are durable: remembers and answers, then looks at them.
    fn settle(&mut self, tenant: &str, waiting: Vec<Waiting>) {
        let now = calendar();
        let mut taken = Vec::with_capacity(waiting.len());
        for Waiting { stream, judged, reply } in waiting {
            self.intake.stored(&stream, judged.seq, now);
            self.changed.insert(stream.clone());
            self.count(tenant, &judged);
            let ack = Ack {
                boot_id: stream.boot_id.clone(),
                seq: judged.seq,
                stored: judged.fresh.len() as u64,
                duplicates: judged.duplicates,
            };
            let _ = reply.send(Ok(ack));
            taken.push((stream, judged));
        }
        let fleet = self.fleet(tenant);
        let mut findings = Vec::new();
        for (stream, judged) in taken {
            if judged.turned_back {
                let detail = format!("boot {} goes on after a later one began", stream.boot_id);
                fleet.suspect(&stream.peer.host, Kind::TwoMachines, detail, now);
            }
            for gap in judged.gaps {
                fleet.missing(&stream, gap, now);
            }
            for arrived in &judged.fresh {
                findings.extend(fleet.record(&arrived.record));
            }
        }
        self.tell(tenant, findings.into_iter().map(Body::Finding).collect());
    }

    /// Writes records of the collector itself, and shows them to the detector as well. What cannot be written is
    /// tried again with the next tick.
    fn tell(&mut self, tenant: &str, mut bodies: Vec<Body>) {
        while !bodies.is_empty() {
            let told = match self.archive.append_own(tenant, calendar(), &bodies) {
                Ok(told) => told,
                Err(error) => {
                    tracing::error!(tenant, %error, "findings are not stored yet");
                    let untold = self.untold.entry(tenant.to_owned()).or_default();
                    bodies.truncate(MAX_UNTOLD.saturating_sub(untold.len()));
                    untold.append(&mut bodies);
                    return;
                }
            };
            bodies.clear();
            for record in &told {
                if let Some(finding) = record.finding() {
                    announce(tenant, finding);
                }
                self.stored.entry(tenant.to_owned()).or_default().tally.count(record);
                bodies.extend(self.fleet(tenant).record(record).into_iter().map(Body::Finding));
            }
        }
    }

    /// Lets time pass.
    fn tick(&mut self) {
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        self.archive.tick();
        let now = calendar();
        let silent_after = self.settings.silent_after;
        // After a start every sensor has time to come back.
        if self.beat.elapsed() >= HEARTBEAT.min(silent_after) && self.started.elapsed() >= silent_after {
            self.beat = Instant::now();
            self.silent(now);
        }
        let mut told = Vec::new();
        for (tenant, fleet) in &mut self.fleets {
            let mut bodies = self.untold.remove(tenant).unwrap_or_default();
            bodies.extend(fleet.tick(now).into_iter().map(Body::Finding));
            bodies.extend(fleet.reports(now));
            told.push((tenant.clone(), bodies));
        }
        for (tenant, bodies) in told {
            self.tell(&tenant, bodies);
        }
    }

    /// Counts a batch that was stored.
    fn count(&mut self, tenant: &str, judged: &Judged) {
        let stored = self.stored.entry(tenant.to_owned()).or_default();
        stored.duplicates += judged.duplicates;
        stored.missing += judged.gaps.iter().map(Gap::numbers).sum::<u64>();
        for arrived in &judged.fresh {
            stored.records += 1;
            stored.bytes += arrived.line.len() as u64;
            // Findings of sensors are theirs.
            if matches!(arrived.record.body, Some(Body::ModelCall(_))) {
                stored.tally.count(&arrived.record);
            }
        }
    }

    fn summary(&self) -> Summary {
        let mut tenants: BTreeMap<String, Tenant> = BTreeMap::new();
        for (name, position) in self.archive.positions() {
            let stored = self.stored.get(&name).cloned().unwrap_or_default();
            let reports = self.fleets.get(&name).map(Fleet::seen).unwrap_or_default();
            tenants.insert(name, Tenant { stored, reports, position, ..Tenant::default() });
        }
        for (peer, silence) in self.silences(calendar()) {
            let tenant = tenants.entry(peer.tenant.clone()).or_default();
            match silence {
                heard if heard < self.silent_after_ns() => tenant.heard += 1,
                silent if silent < GONE_NS => tenant.silent += 1,
                _ => {}
            }
        }
        Summary { failing: self.failing, tenants }
    }

    fn silent_after_ns(&self) -> u64 {
        u64::try_from(self.settings.silent_after.as_nanos()).unwrap_or(u64::MAX)
    }

    /// How long nothing came from each sensor, nanoseconds.
    fn silences(&self, now: u64) -> impl Iterator<Item = (&Peer, u64)> {
        self.intake.sensors().into_iter().map(move |(peer, last)| (peer, now.saturating_sub(last)))
    }

    fn silent(&mut self, now: u64) {
        let gone = self.silent_after_ns()..GONE_NS;
        let silent: Vec<(Peer, u64)> = self
            .silences(now)
            .filter(|(_, silence)| gone.contains(silence))
            .map(|(peer, silence)| (peer.clone(), silence))
            .collect();
        for (peer, silence) in silent {
            let detail = format!("for {} s", silence / 1_000_000_000);
            self.fleet(&peer.tenant).suspect(&peer.host, Kind::Silent, detail, now);
        }
    }

    fn fleet(&mut self, tenant: &str) -> &mut Fleet {
        let Self { fleets, settings, id, .. } = self;
        let new = || Fleet::new(settings.policy.clone(), &settings.host, id, calendar());
        fleets.entry(tenant.to_owned()).or_insert_with(new)
    }

    fn try_save(&mut self) {
        if let Err(error) = self.save() {
            tracing::error!(%error, "progress cannot be saved; it will be read from the archive");
        }
    }

    fn save(&mut self) -> rusqlite::Result<()> {
        self.saved = Instant::now();
        if self.changed.is_empty() {
            return Ok(());
        }
        let intake = &self.intake;
        let changed: Vec<(&Stream, Progress)> =
            self.changed.iter().filter_map(|stream| Some((stream, intake.progress(stream)?))).collect();
        self.state.save(changed, &self.archive.positions())?;
        self.changed.clear();
        Ok(())
    }
}

/// The detector of a tenant, as far as the last records of its log tell.
fn restore(fleet: &mut Fleet, folder: &Path) -> Result<(), ArchiveError> {
    for line in Reader::open(folder)?.last(RESTORED)? {
        // Damage was told when the log was opened.
        if let Some(record) = line.ok().and_then(|line| line.record().ok()) {
            fleet.restore(&record);
        }
    }
    Ok(())
}

fn announce(tenant: &str, finding: &Finding) {
    let Finding { id, rule, severity, title, state, .. } = finding;
    tracing::info!(tenant, id, rule, severity, state, "{title}");
}
