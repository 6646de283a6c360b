//! Makes event sequences as the kernel would tell them, and collects what follows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use proto::v1::{Finding, Flow, ModelCall, Record, record::Body};

use crate::call::Toolkit;
use crate::cost::Prices;
use crate::credential::{FleetKey, Hint, Secret};
use crate::endpoint::Catalogue;
use crate::event::{
    Direction, Event, FileId, FlowInfo, Handle, Plaintext, ProcessImage, ProcessKey, Protocol, Shape, Task,
};
use crate::pipeline::{Attribution, Counts, Output, SensorInfo};

/// The host of the captured hellos, here a host of the provider `openai`.
pub(super) const HOST: &str = "api.keywitness.test";
pub(super) const CURL: &[u8] = include_bytes!("../../decode/testdata/curl_openssl.bin");
pub(super) const NO_SNI: &[u8] = include_bytes!("../../decode/testdata/openssl_no_sni.bin");
pub(super) const KEY: &str = "sk-proj-AbCdEfGhIjKlMnOpQrStUvWx0123456789abcdEFGH";
pub(super) const OTHER_KEY: &str = "sk-proj-ZyXwVuTsRqPoNmLkJiHgFeDc9876543210dcbaHGFE";
/// `CLOCK_REALTIME` minus `CLOCK_BOOTTIME`.
pub(super) const OFFSET: i64 = 1_700_000_000_000_000_000;
pub(super) const MS: u64 = 1_000_000;
pub(super) const S: u64 = 1000 * MS;
/// The address that is configured for a provider of its own.
pub(super) const CONFIGURED: &str = "10.9.8.7:8000";

/// What reads all plaintext.
pub(super) const PROBE: u32 = 3;

const ADDITIONS: &str = r#"
[[provider]]
id = "openai"
hosts = ["api.keywitness.test"]

[[provider]]
id = "in_house"
addresses = ["10.9.8.7:8000"]
carriers = [{ header = "authorization", scheme = "bearer" }]
"#;

static KIT: LazyLock<Toolkit> = LazyLock::new(|| {
    let catalogue = Catalogue::with_additions(ADDITIONS).unwrap();
    Toolkit::new(Arc::new(catalogue), Arc::new(FleetKey::new(&mut [7; 32])), Hint::Full)
        .with_prices(Prices::built_in().unwrap())
});

pub(super) fn fingerprint(key: &str) -> String {
    FleetKey::new(&mut [7; 32]).fingerprint(&Secret::new(key.as_bytes().to_vec())).to_string()
}

pub(super) fn kit() -> Toolkit {
    KIT.clone()
}

pub(super) fn attribution() -> Attribution {
    Attribution::new(KIT.clone(), SensorInfo { host: "node".into(), boot_id: "boot".into() })
}

pub(super) fn key(pid: u32) -> ProcessKey {
    ProcessKey { pid, start_ns: u64::from(pid) * S }
}

pub(super) fn task(pid: u32) -> Task {
    Task { process: key(pid), cgroup_id: u64::from(pid) + 1, uid: 1000, comm: format!("t{pid}") }
}

/// One connection of one process.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) task: Task,
    pub(super) cookie: u64,
    pub(super) handle: Handle,
    pub(super) by_random: bool,
    pub(super) remote: SocketAddr,
    pub(super) protocol: Protocol,
}

impl Client {
    pub(super) fn new(pid: u32, cookie: u64) -> Self {
        let mut handle = [cookie as u8 ^ 0x5a; 16];
        handle[..8].copy_from_slice(&cookie.to_be_bytes());
        let remote = "192.0.2.7:443".parse().unwrap();
        Self { task: task(pid), cookie, handle, by_random: true, remote, protocol: Protocol::Tcp }
    }

    /// The same connection as seen when nothing binds it.
    pub(super) fn unbound(mut self, by_random: bool) -> Self {
        (self.cookie, self.by_random) = (0, by_random);
        self
    }

    pub(super) fn to(mut self, remote: &str) -> Self {
        self.remote = remote.parse().unwrap();
        self
    }

    pub(super) fn port(&self) -> u16 {
        40_000 + self.cookie as u16
    }

    pub(super) fn flow(&self) -> FlowInfo {
        FlowInfo {
            cookie: self.cookie,
            task: self.task.clone(),
            opened_ns: self.cookie,
            remote: self.remote,
            local: Some(SocketAddr::from(([192, 0, 2, 1], self.port()))),
            protocol: self.protocol,
        }
    }

    /// A real hello, with this connection's random and a host as long as the one it was captured with.
    pub(super) fn hello(&self, host: Option<&str>) -> Vec<u8> {
        let mut hello = if host.is_some() { CURL } else { NO_SNI }.to_vec();
        hello[11..27].copy_from_slice(&self.handle);
        if let Some(host) = host {
            assert_eq!(host.len(), HOST.len());
            let at = hello.windows(HOST.len()).position(|window| window == HOST.as_bytes()).unwrap();
            hello[at..at + HOST.len()].copy_from_slice(host.as_bytes());
        }
        hello
    }
}

/// Events in order, a millisecond apart.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) events: Vec<Event>,
    pub(super) now: u64,
    /// Bytes written and read so far.
    moved: HashMap<(Handle, bool), [u64; 2]>,
}

impl Script {
    pub(super) fn new() -> Self {
        let events = vec![Event::Clock { offset_ns: OFFSET }];
        Self { events, now: 10_000 * S, moved: HashMap::new() }
    }

    /// Without the clock's event.
    pub(super) fn empty() -> Self {
        Self { events: Vec::new(), ..Self::new() }
    }

    pub(super) fn time(&mut self) -> u64 {
        self.now += MS;
        self.now
    }

    pub(super) fn push(&mut self, event: Event) -> &mut Self {
        self.events.push(event);
        self
    }

    pub(super) fn exec(&mut self, pid: u32, parent: u32, exe: &str) -> &mut Self {
        let comm = exe.rsplit('/').next().unwrap().to_owned();
        let file = FileId { device: 1, inode: u64::from(pid) };
        let image = ProcessImage { exe: exe.into(), file, comm, args: vec![exe.into(), "-v".into()] };
        self.image(pid, parent, image)
    }

    pub(super) fn image(&mut self, pid: u32, parent: u32, image: ProcessImage) -> &mut Self {
        let id = u64::from(pid) + 1;
        let time_ns = self.time();
        self.push(Event::Cgroup { id, path: format!("/place/{pid}") });
        self.push(Event::Exec { time_ns, task: task(pid), parent: key(parent), image })
    }

    pub(super) fn exit(&mut self, pid: u32) -> &mut Self {
        let time_ns = self.time();
        self.push(Event::Exit { time_ns, process: key(pid) })
    }

    pub(super) fn payload(&mut self, client: &Client, shape: Shape, bytes: &[u8]) -> &mut Self {
        let time_ns = self.time();
        let bytes = Plaintext::copy(bytes);
        self.push(Event::Payload { time_ns, flow: client.flow(), shape, offset: 0, bytes })
    }

    pub(super) fn hello(&mut self, client: &Client, host: Option<&str>) -> &mut Self {
        self.payload(client, Shape::Tls, &client.hello(host))
    }

    pub(super) fn tls(&mut self, client: &Client, direction: Direction, bytes: &[u8]) -> &mut Self {
        let position = self.advance(client, direction, bytes.len());
        let time_ns = self.time();
        self.push(Event::Tls {
            time_ns,
            task: client.task.clone(),
            connection: client.handle,
            by_random: client.by_random,
            cookie: client.cookie,
            direction,
            position,
            probe: PROBE,
            bytes: Plaintext::copy(bytes),
        })
    }

    /// Where the next bytes of this direction stand, which are `len`.
    fn advance(&mut self, client: &Client, direction: Direction, len: usize) -> u64 {
        let moved = self.moved.entry((client.handle, client.by_random)).or_default();
        let moved = &mut moved[usize::from(direction == Direction::Read)];
        *moved += len as u64;
        *moved - len as u64
    }

    /// Bytes that were written or read, of which no event tells.
    pub(super) fn lose(&mut self, client: &Client, direction: Direction, len: usize) -> &mut Self {
        self.advance(client, direction, len);
        self
    }

    /// What the kernel counted of a connection is gone.
    pub(super) fn forget(&mut self, client: &Client) -> &mut Self {
        self.moved.remove(&(client.handle, client.by_random));
        self
    }

    pub(super) fn write(&mut self, client: &Client, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.tls(client, Direction::Write, bytes.as_ref())
    }

    pub(super) fn read(&mut self, client: &Client, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.tls(client, Direction::Read, bytes.as_ref())
    }

    /// A packet of a cleartext connection.
    pub(super) fn packet(
        &mut self,
        client: &Client,
        direction: Direction,
        position: usize,
        bytes: &[u8],
    ) -> &mut Self {
        let (time_ns, cookie) = (self.time(), client.cookie);
        let (position, bytes) = (u32::try_from(position).unwrap(), Plaintext::copy(bytes));
        self.push(Event::Cleartext { time_ns, cookie, direction, position, bytes })
    }

    pub(super) fn close(&mut self, client: &Client) -> &mut Self {
        let time_ns = self.time();
        let connection = Some(client.handle);
        self.push(Event::Close { time_ns, flow: client.flow(), connection, sent: 900, received: 1900 })
    }

    pub(super) fn tick(&mut self, after_ns: u64) -> &mut Self {
        self.now += after_ns;
        let time_ns = self.now;
        self.push(Event::Tick { time_ns })
    }

    /// One whole call.
    pub(super) fn call(&mut self, client: &Client, key: &str, tokens: (u64, u64)) -> &mut Self {
        self.write(client, request(key, "gpt-4o")).read(client, answer(tokens))
    }

    pub(super) fn run(&self) -> Told {
        let mut attribution = attribution();
        let mut outputs = Vec::new();
        for event in &self.events {
            attribution.event(event.clone());
            outputs.extend(attribution.outputs());
        }
        Told { attribution, outputs }
    }
}

/// What came out.
pub(super) struct Told {
    pub(super) attribution: Attribution,
    pub(super) outputs: Vec<Output>,
}

impl Told {
    pub(super) fn records(&self) -> Vec<Record> {
        let record = |output: &Output| match output {
            Output::Record(record) => Some(Record::clone(record)),
            _ => None,
        };
        self.outputs.iter().filter_map(record).collect()
    }

    pub(super) fn calls(&self) -> Vec<ModelCall> {
        let call = |record: Record| match record.body {
            Some(Body::ModelCall(call)) => Some(*call),
            _ => None,
        };
        self.records().into_iter().filter_map(call).collect()
    }

    pub(super) fn flows(&self) -> Vec<Flow> {
        let flow = |record: Record| match record.body {
            Some(Body::Flow(flow)) => Some(*flow),
            _ => None,
        };
        self.records().into_iter().filter_map(flow).collect()
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let finding = |record: Record| match record.body {
            Some(Body::Finding(finding)) => Some(finding),
            _ => None,
        };
        self.records().into_iter().filter_map(finding).collect()
    }

    pub(super) fn verdicts(&self) -> Vec<bool> {
        let verdict = |output: &Output| match output {
            Output::Verdict { model, .. } => Some(*model),
            _ => None,
        };
        self.outputs.iter().filter_map(verdict).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        self.attribution.counts()
    }

    /// The only call; what else there is fails the test.
    pub(super) fn one_call(&self) -> ModelCall {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    /// Nothing recorded and nothing kept.
    pub(super) fn assert_nothing(&self) {
        assert_eq!(self.records(), []);
        let counts = self.counts();
        assert_eq!((counts.flows, counts.connections), (0, 0));
    }
}

pub(super) fn request_to(host: &str, path: &str, key: &str, model: &str) -> Vec<u8> {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"a secret prompt"}}]}}"#);
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nUser-Agent: test/1\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

pub(super) fn request(key: &str, model: &str) -> Vec<u8> {
    request_to(HOST, "/v1/chat/completions", key, model)
}

pub(super) fn json(tokens: (u64, u64)) -> String {
    let (input, output) = tokens;
    format!(
        r#"{{"id":"chatcmpl-1","model":"gpt-4o-2024","choices":[{{"message":{{"content":"a secret answer"}}}}],"usage":{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{}}}}}"#,
        input + output
    )
}

pub(super) fn response(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(super) fn answer(tokens: (u64, u64)) -> Vec<u8> {
    response("Content-Type: application/json\r\nx-request-id: req-1\r\n", json(tokens).as_bytes())
}

/// A DNS answer: `host` has `address` for a minute.
pub(super) fn dns(pid: u32, time_ns: u64, host: &str, address: [u8; 4]) -> Event {
    let mut message = vec![1, 2, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    for label in host.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend_from_slice(&address);
    Event::Dns { time_ns, cgroup_id: u64::from(pid) + 1, process: Some(key(pid)), message }
}
