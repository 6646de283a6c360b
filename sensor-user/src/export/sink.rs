//! Records to a receiver while the sensor runs: a bounded queue, a task that empties it, and counts that add up.
//!
//! offered = delivered + dropped, by cause, once the task has ended.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attribution::filter::Filter;
use proto::v1::{Loss, Record};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::deliver::{Address, Target};
use crate::sink::Sink;

/// Records that wait for a receiver; more are dropped and counted.
pub const QUEUE: usize = 4096;
/// Most records of one request.
const BATCH: usize = 512;
/// How long a batch waits for company.
const LINGER: Duration = Duration::from_millis(200);
/// How long a batch is tried.
const PATIENCE: Duration = Duration::from_secs(300);
/// Time for what still waits when the sensor stops.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Before the name of a receiver in status records.
const SECTION: &str = "export.";

/// What became of records.
#[derive(Debug, Default)]
struct Counts {
    offered: AtomicU64,
    delivered: AtomicU64,
    queue_full: AtomicU64,
    refused: AtomicU64,
    gave_up: AtomicU64,
}

/// One receiver.
pub struct Exporter {
    name: String,
    filter: Filter,
    queue: mpsc::Sender<Record>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts sending what `filter` lets through. Has to be called in the event loop.
    pub fn start(name: &str, address: &Address, filter: Filter) -> anyhow::Result<Self> {
        let target = Target::open(address)?;
        let (queue, records) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let name = format!("{SECTION}{name}");
        let task = tokio::spawn(send(target, records, counts.clone(), name.clone()));
        Ok(Self { name, filter, queue, counts, task })
    }

    /// What becomes of its records, for who outlives it.
    pub fn account(&self) -> Account {
        Account { name: self.name.clone(), counts: self.counts.clone() }
    }

    /// Records that the receiver did not get so far, by cause.
    pub fn dropped(&self) -> Vec<Loss> {
        self.counts.dropped(&self.name)
    }

    /// Sends what still waits, for a bounded time, and tells what could not be sent.
    pub async fn finish(self) {
        let Self { name, queue, counts, mut task, .. } = self;
        drop(queue);
        if timeout(LAST_WITHIN, &mut task).await.is_err() {
            task.abort();
        }
        let (offered, delivered) =
            (counts.offered.load(Ordering::Relaxed), counts.delivered.load(Ordering::Relaxed));
        if delivered < offered {
            tracing::warn!(
                offered,
                delivered,
                dropped = offered - delivered,
                "{name}: not all records were delivered"
            );
        }
    }
}

impl Sink for Exporter {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.filter.matches(record) {
            self.counts.offered.fetch_add(1, Ordering::Relaxed);
            if self.queue.try_send(record.clone()).is_err() {
                self.counts.queue_full.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What became of the records for one receiver.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    counts: Arc<Counts>,
}

impl Account {
    /// The receiver, as in the configuration.
    pub fn receiver(&self) -> &str {
        self.name.strip_prefix(SECTION).unwrap_or(&self.name)
    }

    /// Records it was to get.
    pub fn offered(&self) -> u64 {
        self.counts.offered.load(Ordering::Relaxed)
    }

    /// Records it took.
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Relaxed)
    }

    /// Records it did not get, by every cause.
    pub fn dropped(&self) -> [(&'static str, u64); 3] {
        self.counts.causes()
    }
}

impl Counts {
    fn causes(&self) -> [(&'static str, u64); 3] {
        [("queue_full", &self.queue_full), ("refused", &self.refused), ("gave_up", &self.gave_up)]
            .map(|(cause, count)| (cause, count.load(Ordering::Relaxed)))
    }

    fn dropped(&self, name: &str) -> Vec<Loss> {
        let loss = |(cause, count): (&str, u64)| {
            (count > 0).then(|| Loss { kind: name.to_owned(), cause: cause.to_owned(), count })
        };
        self.causes().into_iter().filter_map(loss).collect()
    }
}

async fn send(mut target: Target, mut records: mpsc::Receiver<Record>, counts: Arc<Counts>, name: String) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let Some(first) = records.recv().await else { return };
        batch.push(first);
        // A closed queue has nothing to wait for.
        if !records.is_closed() {
            tokio::time::sleep(LINGER).await;
        }
        while batch.len() < BATCH
            && let Ok(record) = records.try_recv()
        {
            batch.push(record);
        }
        let count = batch.len() as u64;
        match target.deliver(&batch, PATIENCE).await {
            Ok(accepted) => {
                let refused = accepted.refused.min(count);
                counts.delivered.fetch_add(count - refused, Ordering::Relaxed);
                counts.refused.fetch_add(refused, Ordering::Relaxed);
            }
            Err(failure) => {
                tracing::warn!(error = failure.message, count, "{name}: records were not delivered");
                let cause = if failure.retry { &counts.gave_up } else { &counts.refused };
                cause.fetch_add(count, Ordering::Relaxed);
            }
        }
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::{
        super::{deliver::Form, samples},
        *,
    };

    /// Reads one request and gives its body.
    fn request(stream: &mut TcpStream) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 65536]);
        loop {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(head) = head {
                let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
                let length: usize =
                    text.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
                if bytes.len() >= head + 4 + length {
                    return bytes[head + 4..].to_vec();
                }
            }
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0);
            bytes.extend_from_slice(&buffer[..read]);
        }
    }

    /// A receiver that answers each request with the next of `statuses`; gives the bodies it took.
    fn receiver(statuses: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<Vec<u8>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            for status in statuses {
                let (mut stream, _) = listener.accept().unwrap();
                let body = request(&mut stream);
                let head = format!(
                    "HTTP/1.1 {status}\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                if status.starts_with('2') {
                    taken.push(body);
                }
            }
            taken
        });
        (url, thread)
    }

    fn exporter(url: String) -> Exporter {
        let address = Address { form: Form::Webhook, url, headers: Vec::new(), semconv: Default::default() };
        Exporter::start("hook", &address, Filter::default()).unwrap()
    }

    fn counted(counts: &Counts) -> (u64, u64) {
        (counts.offered.load(Ordering::Relaxed), counts.delivered.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_busy_receiver_gets_everything_once() {
        let (url, thread) = receiver(&["503 Busy", "429 Slow", "200 OK"]);
        let mut exporter = exporter(url);
        let records = samples::all();
        records.iter().for_each(|record| exporter.write(record).unwrap());
        let counts = exporter.counts.clone();
        exporter.finish().await;
        assert_eq!(counted(&counts), (records.len() as u64, records.len() as u64));
        let bodies = thread.join().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
        assert_eq!((bodies.len(), body["records"].as_array().unwrap().len()), (1, records.len()));
    }

    #[tokio::test]
    async fn what_is_refused_or_does_not_fit_is_counted() {
        let (url, thread) = receiver(&["400 Bad", "200 OK"]);
        let mut exporter = exporter(url);
        let record = &samples::all()[0];
        let offered = QUEUE as u64 + 10;
        // The task has not run yet: nothing leaves the queue.
        (0..offered).for_each(|_| exporter.write(record).unwrap());
        let full = vec![Loss { kind: "export.hook".into(), cause: "queue_full".into(), count: 10 }];
        assert_eq!(exporter.dropped(), full);
        let counts = exporter.counts.clone();
        // The receiver answers two requests and is gone.
        exporter.finish().await;
        thread.join().unwrap();
        let refused = counts.refused.load(Ordering::Relaxed);
        assert_eq!((refused, counted(&counts)), (BATCH as u64, (offered, BATCH as u64)));
    }
}
