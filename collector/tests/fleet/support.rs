//! A real collector process, and hosts with real logs that are sent by the sensor's own code.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use flow_log::{
    Boot, Range, Reader,
    storage::Disk,
    writer::{Inline, Now, Options, Writer},
};
use proto::v1::{Credential, Endpoint, Finding, ModelCall, Process, Record, Sensor, Workload, record::Body};
use uplink::{Settings, Uplink};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_keywitness-collector");
/// File with the address for sensors.
const ADDRESS: &str = "address";
/// Boot id of a host's only boot.
pub(crate) const BOOT: &str = "70f33f75-5292-40cb-8ee1-433011488d54";

/// Waits until `condition` gives something.
pub(crate) fn wait<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long: {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// A collector with certificates for some hosts.
pub(crate) struct Collector {
    pub(crate) folder: PathBuf,
    pub(crate) process: Option<Child>,
    /// Address for sensors and for questions, once it ran.
    addresses: [String; 2],
    /// Address of the metrics, where they were asked for.
    metrics: String,
    more: Vec<String>,
}

impl Collector {
    pub(crate) fn init(folder: &Path, hosts: &[&str]) -> Self {
        let mut init = Command::new(PROGRAM);
        init.args(["init", "--name", "localhost", "--name", "127.0.0.1", "--dir"]).arg(folder);
        for host in hosts {
            init.args(["--sensor", host]);
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::at(folder)
    }

    /// The collector of a folder that another process may have made, and may run.
    pub(crate) fn at(folder: &Path) -> Self {
        let any = || "127.0.0.1:0".to_owned();
        let noted = std::fs::read_to_string(folder.join(ADDRESS)).unwrap_or_else(|_| any());
        Self {
            folder: folder.to_owned(),
            process: None,
            addresses: [noted, any()],
            metrics: String::new(),
            more: Vec::new(),
        }
    }

    /// Tells other processes where sensors connect.
    pub(crate) fn note_address(&self) {
        std::fs::write(self.folder.join(ADDRESS), &self.addresses[0]).unwrap();
    }

    pub(crate) fn with(mut self, argument: &str) -> Self {
        self.more.push(argument.into());
        self
    }

    pub(crate) fn start(&mut self) {
        let [listen, query] = &self.addresses;
        let mut process = Command::new(PROGRAM)
            .args(["--listen", listen, "--query", query, "--collector-name", "the-collector", "--dir"])
            .arg(&self.folder)
            .args(&self.more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        for (at, name) in ["sensors: https://", "questions: https://"].into_iter().enumerate() {
            let line = lines.next().unwrap().unwrap();
            self.addresses[at] = line.strip_prefix(name).unwrap().to_owned();
        }
        if self.more.iter().any(|argument| argument.starts_with("--metrics=")) {
            let line = lines.next().unwrap().unwrap();
            let address = line.strip_prefix("metrics: http://").unwrap().strip_suffix("/metrics");
            self.metrics = address.unwrap().to_owned();
        }
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("https://{}", self.addresses[0])
    }

    pub(crate) fn query_endpoint(&self) -> String {
        format!("https://{}", self.addresses[1])
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    pub(crate) fn metrics_address(&self) -> &str {
        &self.metrics
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// Status and body of a question, by curl.
    pub(crate) fn ask(&self, path: &str, token: Option<&str>) -> (String, String) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", "\n%{http_code}", "--cacert"]).arg(self.pki().join("ca.pem"));
        if let Some(token) = token {
            curl.args(["-H", &format!("authorization: Bearer {token}")]);
        }
        let answer = curl.arg(format!("https://{}{path}", self.addresses[1])).output().unwrap();
        let text = String::from_utf8(answer.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(PROGRAM).args(arguments).arg("--dir").arg(&self.folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Everything that is stored of the only tenant.
    pub(crate) fn stored(&self) -> Vec<Record> {
        let Ok(log) = Reader::open(&self.folder.join("records/default")) else { return Vec::new() };
        log.lines(Range::default()).unwrap().map(|line| line.unwrap().record().unwrap()).collect()
    }

    /// Numbers stored of a host, which must be there once each.
    pub(crate) fn numbers(&self, host: &str) -> BTreeSet<u64> {
        let mut seen = BTreeSet::new();
        for record in self.stored() {
            if let Some((_, _, seq)) = record.place().filter(|(of, _, _)| *of == host) {
                assert!(seen.insert(seq), "record {seq} of {host} is stored twice");
            }
        }
        seen
    }

    /// The newest word on each finding of a rule.
    pub(crate) fn findings(&self, rule: &str) -> Vec<Finding> {
        let mut found: Vec<Finding> = Vec::new();
        for record in self.stored() {
            if let Some(finding) = record.finding().filter(|finding| finding.rule == rule) {
                found.retain(|one| one.id != finding.id);
                found.push(finding.clone());
            }
        }
        found
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// A host with a log and a certificate.
pub(crate) struct Host {
    name: String,
    folder: PathBuf,
    writer: Writer<Disk>,
    next: u64,
    settings: Settings,
}

impl Host {
    /// The host `name` writes its log in `folder` and shows the certificate in `pki`.
    pub(crate) fn new(name: &str, folder: &Path, boot: &str, pki: &Path, endpoints: Vec<String>) -> Self {
        let log = folder.join("log");
        let disk = Disk::open(&log).unwrap();
        let options = Options { commit_records: usize::MAX, segment_bytes: 100_000, ..Options::default() };
        let (writer, recovery) =
            Writer::open(disk, Box::new(Inline::default()), options, Boot::parse(boot), Now::default())
                .unwrap();
        let settings = Settings {
            log,
            place: folder.join("collector.position"),
            endpoints,
            ca: pki.join("ca.pem"),
            certificate: pki.join("sensor.pem"),
            key: pki.join("sensor.key"),
        };
        Self { name: name.into(), folder: folder.to_owned(), writer, next: recovery.next_seq, settings }
    }

    /// The host `name` of a collector's fleet.
    pub(crate) fn of(collector: &Collector, name: &str) -> Self {
        let folder = collector.folder.join("hosts").join(name);
        let pki = collector.folder.join("sensors").join(name);
        Self::new(name, &folder, BOOT, &pki, vec![collector.endpoint()])
    }

    /// Writes so many calls with a key into the log, and makes them durable.
    pub(crate) fn write(&mut self, count: u64, key: &str) {
        self.write_at(count, key, |_| now());
    }

    /// The same, each at a time of its own, by its number.
    pub(crate) fn write_at(&mut self, count: u64, key: &str, time: impl Fn(u64) -> u64) {
        for seq in self.next..self.next + count {
            let mut record = call(&self.name, BOOT, seq, key);
            record.time = time(seq);
            let mut line = serde_json::to_vec(&record).unwrap();
            line.push(b'\n');
            self.writer.push(&line, seq, record.time, Now::default());
        }
        self.next += count;
        self.writer.commit(Now::default());
        self.writer.tick(Now::default());
    }

    pub(crate) fn send(&self) -> Uplink {
        Uplink::start(self.settings.clone()).unwrap()
    }

    pub(crate) fn forget_place(&self) {
        drop(std::fs::remove_file(self.folder.join("collector.position")));
    }

    /// Numbers in its log.
    pub(crate) fn numbers(&self) -> BTreeSet<u64> {
        let log = Reader::open(&self.folder.join("log")).unwrap();
        log.lines(Range::default()).unwrap().map(|line| line.unwrap().seq).collect()
    }

    /// Why its log cannot be written now.
    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.writer.failure()
    }

    pub(crate) fn written(&self) -> u64 {
        self.next - 1
    }
}

pub(crate) fn acknowledged(uplink: &Uplink) -> u64 {
    uplink.progress().acknowledged.load(Ordering::Relaxed)
}

/// Now, nanoseconds since the epoch.
pub(crate) fn now() -> u64 {
    collector::archive::calendar()
}

/// A call of a unit of the host.
pub(crate) fn call(host: &str, boot: &str, seq: u64, key: &str) -> Record {
    let call = ModelCall {
        binding: "client_random".into(),
        status: Some(200),
        process: Some(Process { pid: 77, start_time: 5, exe: "/usr/bin/agent".into(), ..Process::default() }),
        workload: Some(Workload {
            id: format!("systemd://{host}/{host}-agent.service"),
            kind: "systemd".into(),
            ..Workload::default()
        }),
        credential: Some(Credential {
            fingerprint: format!("kw1-test-{key}"),
            provider: "openai".into(),
            evidence: "wire".into(),
            ..Credential::default()
        }),
        endpoint: Some(Endpoint {
            provider: "openai".into(),
            host: "api.openai.com".into(),
            ..Endpoint::default()
        }),
        ..ModelCall::default()
    };
    let mut record = Record::new(now(), Body::ModelCall(Box::new(call)));
    record.sensor = Some(Sensor { host: host.into(), boot_id: boot.into(), seq });
    record
}

/// All bytes of a stream until it is closed.
pub(crate) fn rest(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    drop(stream.read_to_end(&mut bytes));
    bytes
}

/// The most memory that a process had, bytes.
pub(crate) fn peak_memory(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
