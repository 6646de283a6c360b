//! The one thread that stores: batches of all sensors in, judged, appended, made durable together, answered, and
//! then shown to the detectors.
//!
//! One writer for everything keeps duplicates out without locks: what a batch may add is judged when it is
//! written, after every batch before it.

mod summary;
mod told;
mod writer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use attribution::policy::Policy;
use flow_log::writer::Options;
use proto::v1::Ack;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

pub use self::{
    summary::{Stored, Summary, Tenant},
    writer::Writer,
};
use crate::{archive::ArchiveError, batch::Checked, fleet::Kind, peer::Peer};

/// Folder of the logs in the folder of state.
pub const RECORDS: &str = "records";
/// The thread is taken for stuck when it takes longer to answer: longer than a slow disk makes it wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

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

enum Request {
    Batch(Peer, Checked, oneshot::Sender<Result<Ack, StoreError>>),
    Ask(oneshot::Sender<Summary>),
    Suspect(Peer, Kind, String),
    Policy(Arc<Policy>),
}

/// Hands batches to the thread. It ends when every one of these is dropped.
#[derive(Clone)]
pub struct Store(mpsc::Sender<Request>);

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
