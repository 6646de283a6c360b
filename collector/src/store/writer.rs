//! The thread: takes what waits, judges it, makes it durable, answers, and shows it to the detectors.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
    path::Path,
    time::{Duration, Instant},
};

use flow_log::Reader;
use proto::v1::{Ack, record::Body};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{OpenError, RECORDS, Request, Settings, Store, StoreError, Stored};
use crate::{
    archive::{Archive, ArchiveError, Folders, calendar, folder},
    fleet::{Fleet, Kind},
    intake::{Gap, Intake, Judged},
    peer::Peer,
    state::{FILE, Progress, State, Stream},
};

/// Batches that are made durable together.
const GROUP: usize = 128;
/// Lines and their bytes that are made durable together; with one batch more still below the limits of a log's
/// writer.
const GROUP_LINES: usize = 8 * 1024;
const GROUP_BYTES: usize = 3 * 1024 * 1024;
/// How often time passes for the detectors.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Time after which progress is saved; what is newer is read from the archive at the next start.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Records of each tenant from which its detector is restored, the newest. Two uses of one key that lie further
/// apart than this, with a restart between them, are not seen together.
const RESTORED: usize = 1_000_000;
/// Batches that wait to be stored; sensors wait when it is full.
const QUEUE: usize = 64;

/// A judged batch that waits for its answer.
struct Waiting {
    stream: Stream,
    judged: Judged,
    reply: oneshot::Sender<Result<Ack, StoreError>>,
}

/// The thread's own.
pub struct Writer {
    pub(super) archive: Folders,
    state: State,
    pub(super) settings: Settings,
    id: String,
    pub(super) intake: Intake,
    pub(super) fleets: BTreeMap<String, Fleet>,
    /// Records of the collector itself that could not be stored, by tenant.
    pub(super) untold: BTreeMap<String, Vec<Body>>,
    pub(super) stored: BTreeMap<String, Stored>,
    /// Whether the last attempt to store failed.
    pub(super) failing: bool,
    /// Streams whose progress is not saved yet.
    changed: HashSet<Stream>,
    pub(super) started: Instant,
    saved: Instant,
    pub(super) ticked: Instant,
    pub(super) beat: Instant,
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

    pub(super) fn fleet(&mut self, tenant: &str) -> &mut Fleet {
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
