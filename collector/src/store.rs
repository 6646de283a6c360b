//! The one thread that stores: batches of all sensors in, judged, appended, made durable together, answered.
//!
//! One writer for everything keeps duplicates out without locks: what a batch may add is judged when it is
//! written, after every batch before it.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use proto::v1::{Ack, Batch};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{
    archive::{Archive, ArchiveError},
    intake::{Intake, Judged, Refused},
    peer::Peer,
    state::{Progress, State, Stream},
};

/// Batches that wait to be stored; sensors wait when it is full.
const QUEUE: usize = 256;
/// Batches that are made durable together.
const GROUP: usize = 128;
/// Time after which progress is saved; what is newer is read from the archive at the next start.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Why a batch is not stored.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It must not be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The archive cannot be written, for now.
    #[error("the archive cannot be written")]
    Full,
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopped,
}

/// Why the store does not start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The state file.
    #[error("state: {0}")]
    State(#[from] rusqlite::Error),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

struct Request {
    peer: Peer,
    batch: Batch,
    reply: oneshot::Sender<Result<Ack, StoreError>>,
}

/// Hands batches to the thread.
#[derive(Clone)]
pub struct Store(mpsc::Sender<Request>);

/// The thread's own.
pub struct Writer {
    archive: Archive,
    state: State,
    intake: Intake,
    changed: Vec<Stream>,
    saved: Instant,
}

impl Store {
    /// Stores a batch; the acknowledgement means that it is durable.
    pub async fn batch(&self, peer: Peer, batch: Batch) -> Result<Ack, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Request { peer, batch, reply }).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Writer {
    /// Opens state and archive in `folder` and reads what the state does not know yet.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let state = State::open(&folder.join("state.sqlite"))?;
        let mut intake = Intake::new(state.streams()?);
        let mut changed = Vec::new();
        let archive = Archive::open(&folder.join("records"), state.position()?.as_deref(), |peer, sensor| {
            let stream = Stream { peer, boot_id: sensor.boot_id };
            intake.stored(&stream, sensor.seq, now());
            changed.push(stream);
        })?;
        let mut writer = Self { archive, state, intake, changed, saved: Instant::now() };
        writer.save()?;
        Ok(writer)
    }

    /// Starts the thread, which ends when every [`Store`] is dropped.
    pub fn start(self) -> std::io::Result<(Store, std::thread::JoinHandle<()>)> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || self.run(receiver))?;
        Ok((Store(sender), thread))
    }

    fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut group = Vec::with_capacity(GROUP);
        loop {
            if requests.blocking_recv_many(&mut group, GROUP) == 0 {
                break;
            }
            self.group(&mut group);
            if self.saved.elapsed() >= SAVE_EVERY {
                if let Err(error) = self.save() {
                    tracing::error!(%error, "progress cannot be saved; it will be read from the archive");
                }
            }
        }
        if let Err(error) = self.save() {
            tracing::error!(%error, "progress cannot be saved; it will be read from the archive");
        }
    }

    /// Stores a group of batches, all durable or none.
    fn group(&mut self, group: &mut Vec<Request>) {
        let mut answers = Vec::with_capacity(group.len());
        let mut before: Vec<(Stream, u64)> = Vec::new();
        for Request { peer, batch, reply } in group.drain(..) {
            match self.intake.judge(&peer, batch) {
                Ok((stream, judged)) => {
                    before.push((stream.clone(), self.intake.seq(&stream)));
                    self.intake.stored(&stream, judged.seq, now());
                    answers.push((stream, judged, reply));
                }
                Err(refused) => {
                    tracing::warn!(%peer, %refused, "batch refused");
                    // The connection may be gone.
                    let _ = reply.send(Err(refused.into()));
                }
            }
        }
        let stored = self.archive(&answers);
        if let Err(error) = &stored {
            tracing::error!(%error, "records cannot be stored; sensors keep them");
            for (stream, seq) in before.into_iter().rev() {
                self.intake.back(&stream, seq);
            }
        }
        for (stream, judged, reply) in answers {
            let answer = match stored {
                Ok(()) => Ok(ack(&stream, &judged)),
                Err(_) => Err(StoreError::Full),
            };
            if stored.is_ok() {
                self.changed.push(stream);
            }
            let _ = reply.send(answer);
        }
    }

    fn archive(&mut self, answers: &[(Stream, Judged, oneshot::Sender<Result<Ack, StoreError>>)]) -> Result<(), ArchiveError> {
        for (stream, judged, _) in answers {
            for gap in &judged.gaps {
                let Stream { peer, boot_id } = stream;
                tracing::warn!(%peer, boot_id, from = gap.from, to = gap.to, "records are missing");
            }
            self.archive.append(&stream.peer.tenant, &judged.fresh)?;
        }
        self.archive.commit()
    }

    fn save(&mut self) -> rusqlite::Result<()> {
        let changed: Vec<(Stream, Progress)> =
            self.changed.iter().filter_map(|stream| Some((stream.clone(), self.intake.progress(stream)?))).collect();
        self.state.save(changed.iter().map(|(stream, progress)| (stream, *progress)), &self.archive.position())?;
        self.changed.clear();
        self.saved = Instant::now();
        Ok(())
    }
}

fn ack(stream: &Stream, judged: &Judged) -> Ack {
    Ack {
        boot_id: stream.boot_id.clone(),
        seq: judged.seq,
        duplicates: judged.duplicates,
        ..Ack::default()
    }
}

/// The collector's clock, nanoseconds since the epoch.
fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
