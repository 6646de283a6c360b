//! One connection to a collector, from its beginning to its end.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime},
};

use flow_log::ReadError;
use proto::v1::{Ack, Batch, ingest_client::IngestClient};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    Progress, Settings,
    gather::{Gather, Gathered},
    now,
    place::Place,
    with_causes,
};

/// Batches that are sent before the first of them is acknowledged. With their size this bounds the memory.
const AHEAD: usize = 4;
/// Time for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time for an acknowledgement.
const ACK_LIMIT: Duration = Duration::from_secs(60);
/// How often the log is looked at for more, and the certificates for change.
const LOOK: Duration = Duration::from_millis(200);
/// How often a quiet connection is tried.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Time for what is left when the sensor stops.
const LAST_WITHIN: Duration = Duration::from_secs(3);

/// Why a connection ended.
#[derive(Debug, Error)]
pub(crate) enum Ended {
    /// A certificate or key.
    #[error("cannot read {path}: {source}")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The collector refused or went away.
    #[error("the collector says {code:?}: {message}", code = .0.code(), message = .0.message())]
    Status(#[from] Status),
    /// The log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// Nothing came.
    #[error("{0}")]
    Lost(&'static str),
}

/// What a connection works with.
pub(crate) struct Session<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) progress: &'a Progress,
    pub(crate) endpoint: &'a str,
}

/// Both directions of the stream.
struct Stream<'a> {
    gather: Gather,
    batches: mpsc::Sender<Batch>,
    acks: Streaming<Ack>,
    ahead: VecDeque<Gathered>,
    place: &'a mut Place,
    progress: &'a Progress,
}

impl Session<'_> {
    /// Sends until something fails, or returns well when it was told to stop.
    pub(crate) async fn run(&self, place: &mut Place, stop: &mut watch::Receiver<bool>) -> Result<(), Ended> {
        let stamps = self.stamps();
        let connected = tokio::select! {
            connected = self.connect() => connected?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let (batches, receiver) = mpsc::channel(AHEAD);
        let mut client = IngestClient::new(connected);
        let opened = timeout(CONNECT_LIMIT, client.ingest(ReceiverStream::new(receiver))).await;
        let acks = opened.map_err(|_| Ended::Lost("no answer"))??.into_inner();
        self.progress.connected.store(true, Ordering::Relaxed);
        let gather = Gather::open(&self.settings.log, place.position())?;
        let mut stream =
            Stream { gather, batches, acks, ahead: VecDeque::new(), place, progress: self.progress };
        let mut looked = Instant::now();
        loop {
            stream.send().await?;
            if *stop.borrow() {
                // What is in the log by now still goes, if that is quick.
                return timeout(LAST_WITHIN, stream.drain()).await.unwrap_or(Ok(()));
            }
            tokio::select! {
                ack = stream.ack() => ack?,
                () = sleep(LOOK), if stream.ahead.is_empty() => {}
                _ = stop.changed() => {}
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                if stream.ahead.is_empty() && self.stamps() != stamps {
                    return Err(Ended::Lost("there are new certificates"));
                }
            }
        }
    }

    async fn connect(&self) -> Result<Channel, Ended> {
        let Settings { ca, certificate, key, .. } = self.settings;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(ca)?))
            .identity(Identity::from_pem(read(certificate)?, read(key)?));
        let endpoint = Endpoint::from_shared(self.endpoint.to_owned())
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| Ended::Connect(with_causes(&error)))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_while_idle(true);
        let connected = timeout(CONNECT_LIMIT, endpoint.connect()).await;
        connected
            .map_err(|_| Ended::Lost("no connection in time"))?
            .map_err(|error| Ended::Connect(with_causes(&error)))
    }

    /// When each certificate was written.
    fn stamps(&self) -> [Option<SystemTime>; 3] {
        let Settings { ca, certificate, key, .. } = self.settings;
        [ca, certificate, key].map(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
    }
}

impl Stream<'_> {
    /// Sends what the log has, as far ahead as is allowed.
    async fn send(&mut self) -> Result<(), Ended> {
        while self.ahead.len() < AHEAD {
            let looked = now();
            let Some((batch, gathered)) = self.gather.next(looked)? else {
                // What is on its way is all there was.
                match self.ahead.back_mut() {
                    Some(last) => last.complete = last.complete.max(looked),
                    None => self.progress.complete(looked),
                }
                break;
            };
            self.progress.sent.fetch_add(gathered.records, Ordering::Relaxed);
            self.ahead.push_back(gathered);
            if self.batches.send(batch).await.is_err() {
                // The collector's reason comes as the answer.
                break;
            }
        }
        Ok(())
    }

    /// Takes one acknowledgement.
    async fn ack(&mut self) -> Result<(), Ended> {
        let waiting = !self.ahead.is_empty();
        let ack = match timeout(ACK_LIMIT, self.acks.message()).await {
            Ok(ack) => ack?.ok_or(Ended::Lost("the collector closed the connection"))?,
            Err(_) if waiting => return Err(Ended::Lost("no acknowledgement in time")),
            Err(_) => return Ok(()),
        };
        let Some(first) = self.ahead.pop_front() else {
            return Err(Ended::Lost("the collector acknowledges what was not sent"));
        };
        if ack.boot_id != first.boot_id || ack.seq < first.seq {
            return Err(Ended::Lost("the collector acknowledges something else"));
        }
        self.progress.acknowledged.fetch_add(first.records, Ordering::Relaxed);
        self.progress.duplicates.fetch_add(ack.duplicates, Ordering::Relaxed);
        self.progress.complete(first.complete);
        self.place.advance(first.position);
        Ok(())
    }

    /// Sends and waits until the log has no more.
    async fn drain(&mut self) -> Result<(), Ended> {
        self.send().await?;
        while !self.ahead.is_empty() {
            self.ack().await?;
            self.send().await?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Ended> {
    fs::read(path).map_err(|source| Ended::File { path: path.to_owned(), source })
}
