//! What the simulated sensors send, and how long they wait for acknowledgements.

use std::{
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use proto::v1::{Ack, Batch, Record, Sensor, ingest_client::IngestClient};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    fleet::{Fleet, host},
    process::Collector,
    records::{self, BOOT},
};

/// Records that are made from scratch; all others are these with other places, times and keys.
const TEMPLATES: u64 = 3000;
/// Of the first hosts so many share a key, and use it for one record in `SHARED_EVERY`.
const SHARING: usize = 50;
const SHARED_BY: usize = 5;
const SHARED_EVERY: u64 = 20;
/// Handshakes at one time; a collector takes 64 from one address.
const HANDSHAKES: usize = 32;
/// Compression, as a sensor's.
const LEVEL: i32 = 1;

/// Makes batches.
pub(crate) struct Maker {
    templates: Vec<Record>,
    next: Vec<u64>,
    keys: u64,
    made: u64,
    raw_bytes: u64,
    time: u64,
}

/// A simulated sensor with its stream.
pub(crate) struct Connected {
    number: usize,
    batches: mpsc::Sender<Batch>,
    acks: Streaming<Ack>,
}

impl Maker {
    /// For so many sensors that have `keys` between them.
    pub(crate) fn new(sensors: usize, keys: u64) -> Self {
        let lines = records::lines(TEMPLATES, true);
        let templates = lines.iter().filter_map(|line| Record::from_json(line).ok()).collect();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = u64::try_from(since.as_nanos()).unwrap_or_default();
        Self { templates, next: vec![1; sensors], keys, made: 0, raw_bytes: 0, time }
    }

    /// Bytes of all lines made so far.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// The next records of a sensor.
    pub(crate) fn batch(&mut self, sensor: usize, count: u64) -> Result<Batch> {
        let (sensors, name) = (self.next.len() as u64, host(sensor));
        let next = self.next.get_mut(sensor).context("no such sensor")?;
        let mut raw = Vec::new();
        for seq in *next..*next + count {
            let at = usize::try_from(self.made % self.templates.len() as u64)?;
            let record = self.templates.get_mut(at).context("no templates")?;
            // A microsecond apart: a busy fleet.
            self.time += 1000;
            record.time = self.time;
            record.sensor = Some(Sensor { host: name.clone(), boot_id: BOOT.into(), seq });
            let own = sensor as u64 + sensors * (self.made % (self.keys / sensors).max(1));
            let shared =
                (sensor < SHARING && self.made.is_multiple_of(SHARED_EVERY)).then_some(sensor / SHARED_BY);
            let key =
                shared.map_or_else(|| format!("kw1-bench-{own:026}"), |key| format!("kw1-shared-{key:026}"));
            place(record, &name, &key);
            serde_json::to_writer(&mut raw, record)?;
            raw.push(b'\n');
            self.made += 1;
        }
        *next += count;
        raw.pop();
        self.raw_bytes += raw.len() as u64;
        Ok(Batch { boot_id: BOOT.into(), lines: zstd::bulk::compress(&raw, LEVEL)?, sent: 0 })
    }

    /// Batches of `count` records for each of the sensors, so many times.
    pub(crate) fn rounds(&mut self, sensors: usize, count: u64, times: u32) -> Vec<Vec<Batch>> {
        let each = |sensor| (0..times).filter_map(|_| self.batch(sensor, count).ok()).collect();
        (0..sensors).map(each).collect()
    }
}

/// Makes a record one of `host`, with `key`.
fn place(record: &mut Record, host: &str, key: &str) {
    use proto::v1::record::Body;
    let (workload, credential) = match &mut record.body {
        Some(Body::ModelCall(call)) => (&mut call.workload, &mut call.credential),
        Some(Body::Flow(flow)) => (&mut flow.workload, &mut flow.credential),
        _ => return,
    };
    if let Some(workload) = workload {
        workload.id = format!("systemd://{host}/{}", workload.unit);
    }
    if let Some(credential) = credential {
        key.clone_into(&mut credential.fingerprint);
    }
}

/// Connects the first sensors of the fleet, some at a time.
pub(crate) async fn connect_all(
    collector: &Collector,
    fleet: &Fleet,
    sensors: usize,
) -> Result<Vec<Connected>> {
    let turns = Arc::new(Semaphore::new(HANDSHAKES));
    let mut tasks = JoinSet::new();
    for number in 0..sensors {
        let read = |name: &str| fs::read(fleet.sensor(number).join(name));
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("ca.pem")?))
            .identity(Identity::from_pem(read("sensor.pem")?, read("sensor.key")?));
        let endpoint = Endpoint::from_shared(collector.address().to_owned())?.tls_config(tls)?;
        let turns = turns.clone();
        tasks.spawn(async move {
            let _turn = turns.acquire().await?;
            let (batches, receiver) = mpsc::channel(1);
            let mut client = IngestClient::new(endpoint.connect().await?);
            let acks = client.ingest(ReceiverStream::new(receiver)).await?.into_inner();
            anyhow::Ok(Connected { number, batches, acks })
        });
    }
    let mut connected = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    connected.sort_by_key(|one| one.number);
    Ok(connected)
}

impl Connected {
    /// Sends a batch, and waits until it is durable.
    async fn send(&mut self, batch: Batch) -> Result<()> {
        self.batches.send(batch).await.context("the collector is gone")?;
        let ack = self.acks.message().await?.context("the collector closed the stream")?;
        ensure!(ack.duplicates == 0, "{} was sent before", ack.duplicates);
        Ok(())
    }
}

/// Each sensor sends one record.
pub(crate) async fn each_once(connected: Vec<Connected>, maker: &mut Maker) -> Result<Vec<Connected>> {
    let mut tasks = JoinSet::new();
    for mut one in connected {
        let batch = maker.batch(one.number, 1)?;
        tasks.spawn(async move { one.send(batch).await.map(|()| one) });
    }
    let mut connected = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    connected.sort_by_key(|one| one.number);
    Ok(connected)
}

/// Each sensor sends its batches one by one, the next when the last is acknowledged. Times to each acknowledgement.
pub(crate) async fn as_fast_as_acknowledged(
    connected: Vec<Connected>,
    work: Vec<Vec<Batch>>,
) -> Result<Vec<Duration>> {
    let mut tasks = JoinSet::new();
    for (mut one, batches) in connected.into_iter().zip(work) {
        tasks.spawn(async move {
            let mut waited = Vec::with_capacity(batches.len());
            for batch in batches {
                let begun = Instant::now();
                one.send(batch).await?;
                waited.push(begun.elapsed());
            }
            anyhow::Ok(waited)
        });
    }
    all(tasks).await
}

/// Each sensor sends a batch `every` so often, whatever the collector does; they do not send at the same moment.
/// Times from when a batch was due to its acknowledgement.
pub(crate) async fn steady(
    connected: Vec<Connected>,
    work: Vec<Vec<Batch>>,
    every: Duration,
) -> Result<Vec<Duration>> {
    let (begun, count) = (Instant::now(), u32::try_from(connected.len())?);
    let mut tasks = JoinSet::new();
    for ((number, mut one), batches) in (0..count).zip(connected).zip(work) {
        // Spread evenly, neighbours far from each other.
        let mut due = begun + every * (number.wrapping_mul(617) % count) / count;
        tasks.spawn(async move {
            let mut waited = Vec::with_capacity(batches.len());
            for batch in batches {
                sleep_until(due).await;
                one.send(batch).await?;
                waited.push(due.elapsed());
                due += every;
            }
            anyhow::Ok(waited)
        });
    }
    all(tasks).await
}

async fn all(tasks: JoinSet<Result<Vec<Duration>>>) -> Result<Vec<Duration>> {
    let waited = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(waited.into_iter().flatten().collect())
}

/// The value below which so large a share lies, milliseconds.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let at = (last as f64 * share).ceil() as usize;
    times.get(at.min(last)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
