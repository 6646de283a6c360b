//! The service that sensors call: one stream each way, a batch in, an acknowledgement out when it is durable.
//!
//! A stream is read no further until its last batch is answered. So a slow collector slows its sensors down by
//! HTTP/2's own flow control, their logs hold the rest, and a batch is never stored before the one ahead of it.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use proto::v1::{Ack, Batch, ingest_server::Ingest};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    archive::calendar,
    batch::{self, Refused},
    fleet::Kind,
    metrics::Traffic,
    peer::Peer,
    store::{Store, StoreError},
};

/// Largest message, bytes: the lines of a batch if nothing of them can be compressed, and what is around them.
pub const MAX_MESSAGE: usize = batch::MAX_LINES_BYTES + 64 * 1024;
/// Records a second that one sensor may send on average; beyond it the collector reads more slowly, and the
/// sensor's own log holds the rest.
pub const RECORDS_PER_S: u32 = 50_000;
/// A stream without a batch for so long is ended. Sensors send a `status` record every few seconds.
const SILENCE: Duration = Duration::from_secs(600);
/// Acknowledgements that wait for a sensor to read them.
const ACKS: usize = 4;
/// Most by which a sensor's clock may differ without a report, nanoseconds.
const CLOCK_NS: u64 = 10_000_000_000;

/// The service.
pub struct Service {
    store: Store,
    traffic: Arc<Traffic>,
    current: Arc<Current>,
}

/// The newest stream of each sensor: an older one, half open or of a copied certificate, is ended.
#[derive(Default)]
struct Current(Mutex<HashMap<Peer, watch::Sender<()>>>);

/// One sensor's stream.
struct Session {
    store: Store,
    traffic: Arc<Traffic>,
    peer: Peer,
    acks: mpsc::Sender<Result<Ack, Status>>,
}

impl Service {
    /// A service that stores in `store` and counts in `traffic`.
    pub fn new(store: Store, traffic: Arc<Traffic>) -> Self {
        Self { store, traffic, current: Arc::default() }
    }
}

impl Current {
    /// Makes this stream the sensor's own; the receiver fails when another takes its place.
    fn take(&self, peer: &Peer) -> watch::Receiver<()> {
        let (sender, receiver) = watch::channel(());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.clone(), sender);
        receiver
    }
}

#[tonic::async_trait]
impl Ingest for Service {
    type IngestStream = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;

    async fn ingest(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let replaced = self.current.take(&peer);
        let (acks, receiver) = mpsc::channel(ACKS);
        let session = Session { store: self.store.clone(), traffic: self.traffic.clone(), peer, acks };
        let batches = request.into_inner();
        let open = self.traffic.open();
        tokio::spawn(async move {
            let _open = open;
            if let Err(status) = session.serve(batches, replaced).await {
                tracing::debug!(peer = %session.peer, %status, "stream ended");
                // The sensor may be gone already.
                let _ = session.acks.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl Session {
    async fn serve(
        &self,
        mut batches: Streaming<Batch>,
        mut replaced: watch::Receiver<()>,
    ) -> Result<(), Status> {
        let mut allowed_from = Instant::now();
        let mut first = true;
        loop {
            sleep_until(allowed_from).await;
            let batch = tokio::select! {
                // The sender is dropped by the stream that takes this one's place.
                _ = replaced.changed() => {
                    return Err(Status::aborted("another connection of this sensor took over"));
                }
                batch = timeout(SILENCE, batches.message()) => batch,
            };
            let batch = match batch {
                Ok(batch) => batch?,
                Err(_) => return Err(Status::deadline_exceeded("nothing came for a long time")),
            };
            let Some(batch) = batch else { return Ok(()) };
            let arrived = Instant::now();
            self.clock(&batch, std::mem::take(&mut first)).await;
            let checked = match batch::check(&self.peer, &batch) {
                Ok(checked) => checked,
                Err(refused) => return Err(self.refuse(refused).await),
            };
            let records = u32::try_from(checked.records.len()).unwrap_or(u32::MAX);
            let pause = Duration::from_secs(1) * records / RECORDS_PER_S;
            allowed_from = allowed_from.max(Instant::now() - Duration::from_secs(1)) + pause;
            let ack = self.store.batch(self.peer.clone(), checked).await.map_err(|error| {
                if error == StoreError::Full {
                    self.traffic.storage.fetch_add(1, Ordering::Relaxed);
                }
                Status::unavailable(error.to_string())
            })?;
            self.traffic.acks.count(arrived.elapsed());
            if self.acks.send(Ok(ack)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn refuse(&self, refused: Refused) -> Status {
        tracing::warn!(peer = %self.peer, %refused, "batch refused");
        match &refused {
            Refused::Forged { claimed, .. } => {
                self.traffic.forged.fetch_add(1, Ordering::Relaxed);
                self.store.suspect(&self.peer, Kind::ForgedHost, format!("`{claimed}`")).await;
            }
            Refused::Malformed(_) => {
                self.traffic.malformed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Status::invalid_argument(refused.to_string())
    }

    /// Compares clocks. Only the first batch of a stream has not waited for its turn; no wait makes a batch come
    /// before it was sent.
    async fn clock(&self, batch: &Batch, first: bool) {
        let now = calendar();
        let (ahead, behind) = (batch.sent.saturating_sub(now), now.saturating_sub(batch.sent));
        if batch.sent == 0 || (ahead < CLOCK_NS && !(first && behind >= CLOCK_NS)) {
            return;
        }
        let (by, way) = if ahead > 0 { (ahead, "ahead") } else { (behind, "behind") };
        let detail = format!("{} s {way}", by / 1_000_000_000);
        self.store.suspect(&self.peer, Kind::Clock, detail).await;
    }
}
