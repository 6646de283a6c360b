//! The service that sensors call: one stream each way, a batch in, an acknowledgement out when it is durable.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
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
    peer::Peer,
    store::{Store, StoreError},
};

/// Largest message, bytes; a batch of a sensor has at most 1 MiB of records.
pub const MAX_MESSAGE: usize = 8 << 20;
/// Records a second that one sensor may send on average; beyond it the collector reads more slowly, and the
/// sensor's own log holds the rest.
pub const RECORDS_PER_S: u32 = 50_000;
/// A stream without a batch for so long is ended; sensors send a `status` record every few seconds.
const SILENCE: Duration = Duration::from_secs(600);
/// Acknowledgements that wait for a sensor to read them.
const ACKS: usize = 16;

/// The service.
pub struct Service {
    store: Store,
    current: Arc<Current>,
}

/// The newest connection of each sensor: an older one, half open or of a copied certificate, is ended.
#[derive(Default)]
struct Current(Mutex<HashMap<Peer, watch::Sender<()>>>);

impl Service {
    /// A service that stores in `store`.
    pub fn new(store: Store) -> Self {
        Self { store, current: Arc::default() }
    }
}

impl Current {
    /// Makes this connection the sensor's own; the receiver closes when another takes its place.
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
        let store = self.store.clone();
        let batches = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = serve(&store, &peer, batches, replaced, &acks).await {
                tracing::debug!(%peer, %status, "stream ended");
                // The sensor may be gone already.
                let _ = acks.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn serve(
    store: &Store,
    peer: &Peer,
    mut batches: Streaming<Batch>,
    mut replaced: watch::Receiver<()>,
    acks: &mpsc::Sender<Result<Ack, Status>>,
) -> Result<(), Status> {
    let mut allowed_from = Instant::now();
    loop {
        sleep_until(allowed_from).await;
        let batch = tokio::select! {
            // The sender is dropped by the connection that takes this one's place.
            _ = replaced.changed() => return Err(Status::aborted("another connection of this sensor took over")),
            batch = timeout(SILENCE, batches.message()) => batch,
        };
        let batch = match batch {
            Ok(batch) => batch?,
            Err(_) => return Err(Status::deadline_exceeded("nothing came for a long time")),
        };
        let Some(batch) = batch else { return Ok(()) };
        let records = u32::try_from(batch.records.len()).unwrap_or(u32::MAX);
        let pause = Duration::from_secs(1) * records / RECORDS_PER_S;
        allowed_from = allowed_from.max(Instant::now() - Duration::from_secs(1)) + pause;
        let ack = store.batch(peer.clone(), batch).await.map_err(|error| match error {
            StoreError::Refused(refused) => Status::invalid_argument(refused.to_string()),
            StoreError::Full => Status::unavailable("the collector cannot store records now; send them again later"),
            StoreError::Stopped => Status::unavailable("the collector is stopping"),
        })?;
        if acks.send(Ok(ack)).await.is_err() {
            return Ok(());
        }
    }
}
