//! The running sensor: kernel events through attribution to a sink.

pub mod health;
mod order;
mod setup;
mod status;

use std::{sync::Arc, time::Duration};

use attribution::{
    call::Toolkit,
    credential::AtRest,
    event::{Event, Opener, ProcessKey, TlsLibrary},
    pipeline::{Attribution, Output, SensorInfo},
    policy::Policy as Entitlements,
};
use nix::time::{ClockId, clock_gettime};
use proto::v1::Gap;
use sensor_common::{kind, tls::verdict};
use tokio::{sync::mpsc::Receiver, time::MissedTickBehavior};

use crate::{
    bpf::{Loaded, Prober, Reader, Subtree, Tables, cgroup_root},
    credential::{self, Inspector, Skipped},
    identity::{Watch, executable::Executables, running, sockets, sources::Sources},
    policy,
    recorder::Recorder,
    sink::Sink,
    source,
    tls::{
        cache::Cache,
        policy::{Counts, Coverage, Policy},
        worker::{Found, Results},
    },
};

use order::{in_order, waiting};
pub use setup::{Options, Past, SensorError};

/// Events taken from the ring before their consequences are carried out.
const BATCH: usize = 1024;
/// How often events that are not urgent are looked for.
const TICK: Duration = Duration::from_millis(100);
/// How often calendar time is compared with boot time.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// Reads of the counters at the end, until nothing is in flight.
const LAST_READS: usize = 50;

/// The sensor, attached.
pub struct Sensor {
    loaded: Loaded,
    watched: Subtree,
    tables: Tables,
    reader: Reader,
    policy: Option<Policy>,
    /// What the policy counted until it ended.
    probed: Counts,
    rules: Option<policy::Watch>,
    located: Option<Results>,
    attribution: Attribution,
    executables: Executables,
    watch: Watch,
    inspector: Option<(Inspector, Receiver<Event>)>,
    unread: Arc<Skipped>,
    options: Options,
    recorder: Option<Recorder>,
    delivered: [u64; kind::COUNT as usize],
    malformed: u64,
    since_ns: u64,
    questions: Option<health::Questions>,
}

/// Nanoseconds of a clock.
fn clock_ns(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn boot_ns() -> u64 {
    clock_ns(ClockId::CLOCK_BOOTTIME)
}

/// The next result of the reading thread, if there is one.
async fn next(located: &mut Option<Results>) -> Option<Found> {
    match located {
        Some(located) => located.recv().await,
        None => std::future::pending().await,
    }
}

impl Sensor {
    /// Loads, attaches, and looks at what runs already. From here on nothing is missed. Needs a tokio runtime.
    pub fn start(options: Options, kit: Toolkit, past: Past) -> Result<Self, SensorError> {
        let info = SensorInfo { host: options.host.clone(), boot_id: options.boot_id.clone() };
        let mut attribution = Attribution::new(kit.clone(), info.clone());
        attribution.resume(past.next_seq);
        // Before anything is attached, so that no events wait for the end of this.
        past.records.for_each(|record| attribution.restore(&record));
        let watched = Subtree::open(options.cgroup.as_deref().unwrap_or("/"))?;
        let disabled = &options.disabled_hooks;
        let mut loaded = Loaded::load(options.ring_bytes, options.kernel_log, disabled, &watched)?;
        let tables = Tables::take(&mut loaded.ebpf)?;
        let reader = Reader::take(&mut loaded.ebpf)?;
        let known = options.known_executables.clone();
        let (policy, located) = match options.tls {
            true => {
                let cache = Cache::open(options.located.clone());
                let (policy, located) = Policy::new(Prober::new()?, cache, options.hit_budget_per_s, known)?;
                (Some(policy), Some(located))
            }
            false => (None, None),
        };
        // Before processes are looked for, so that none opens anything unseen in between.
        let at_rest = AtRest::new(kit.extractor.clone(), kit.catalogue.clone());
        let files = loaded.works(credential::HOOK);
        let inspector = match files.then(|| Inspector::start(&kit.catalogue, at_rest, &options.watch)) {
            None => None,
            Some(Ok(started)) => Some(started),
            Some(Err(error)) => {
                tracing::warn!(%error, "credential files are not watched: no credential will have an origin");
                None
            }
        };
        let unread = inspector.as_ref().map(|(inspector, _)| inspector.skipped()).unwrap_or_default();
        let recorder = match &options.record {
            Some(path) => Some(Recorder::create(path, &info, kit).map_err(SensorError::Record)?),
            None => None,
        };
        if recorder.is_some() {
            attribution.record_decoded();
        }
        let mut sensor = Self {
            watch: Watch::new(cgroup_root()?, Sources::start(&options.identity, &options.host)),
            attribution,
            recorder,
            inspector,
            unread,
            executables: Executables::default(),
            delivered: [0; kind::COUNT as usize],
            malformed: 0,
            since_ns: clock_ns(ClockId::CLOCK_REALTIME),
            loaded,
            watched,
            tables,
            reader,
            policy,
            probed: Counts::default(),
            rules: None,
            located,
            options,
            questions: None,
        };
        sensor.tell_clock();
        for event in sensor.watch.sources().first().collect::<Vec<_>>() {
            sensor.feed(event);
        }
        if sensor.inspector.is_some() {
            sensor.feed(Event::Watching);
        }
        let mut running = Vec::new();
        for event in running::scan() {
            let process = match &event {
                Event::Running { pid, start_ns, .. } => Some(ProcessKey { pid: *pid, start_ns: *start_ns }),
                _ => None,
            };
            sensor.feed(event);
            running.extend(process);
            process.into_iter().for_each(|process| sensor.learn_member(process));
        }
        if let Some((inspector, _)) = &sensor.inspector {
            inspector.running(running);
        }
        sensor.take_over();
        if let Some(policy) = &mut sensor.policy {
            policy.start(&mut sensor.loaded.ebpf, boot_ns());
        }
        Ok(sensor)
    }

    /// Holds calls against a policy, and against what its file says later.
    pub fn set_policy(&mut self, policy: Arc<Entitlements>, watch: policy::Watch) {
        self.attribution.set_policy(policy);
        self.rules = Some(watch);
    }

    /// Runs until `stop` resolves, then detaches everything and writes the last records.
    pub async fn run(
        mut self,
        sink: &mut dyn Sink,
        stop: impl Future<Output = ()>,
    ) -> Result<(), SensorError> {
        let ring = self.reader.waiter()?;
        let mut located = self.located.take();
        let mut questions = self.questions.take();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut clock = tokio::time::interval(CLOCK_EVERY);
        let mut status = tokio::time::interval(self.options.status_every);
        tokio::pin!(stop);
        let ended = loop {
            let result = tokio::select! {
                () = &mut stop => break Ok(()),
                ready = ring.readable() => {
                    ready?.clear_ready();
                    self.drain(sink)
                }
                Some(found) = next(&mut located) => self.found(found, sink),
                _ = tick.tick() => self.tick(sink),
                _ = clock.tick() => {
                    self.tell_clock();
                    for event in self.watch.gone(boot_ns()) {
                        self.feed(event);
                    }
                    Ok(())
                }
                event = self.watch.sources().next() => {
                    self.feed(event);
                    Ok(())
                }
                _ = status.tick() => self.status(sink, false, Vec::new()),
                question = health::next(&mut questions) => self.tell_health(question),
            };
            if let Err(error) = result {
                break Err(error);
            }
        };
        drop(ring);
        drop(located);
        let last = self.stop(sink);
        ended.and(last)
    }

    /// Follows the sockets that were open before.
    fn take_over(&mut self) {
        let catalogue = self.attribution.catalogue();
        for flow in sockets::scan(|remote| catalogue.address(remote).is_some()) {
            if !self.watched.has_process(flow.task.process.pid) {
                continue;
            }
            if let Err(error) = self.tables.follow(&flow) {
                tracing::debug!(%error, cookie = flow.cookie, "the end of an open socket will not be seen");
            }
            self.feed(Event::Existing { flow });
        }
    }

    fn tell_clock(&mut self) {
        let (real, boot) = (clock_ns(ClockId::CLOCK_REALTIME), boot_ns());
        let offset_ns = i64::try_from(i128::from(real) - i128::from(boot)).unwrap_or_default();
        self.feed(Event::Clock { offset_ns });
    }

    fn tick(&mut self, sink: &mut dyn Sink) -> Result<(), SensorError> {
        let now_ns = boot_ns();
        self.loaded.flush_log();
        if let Some(policy) =
            self.rules.as_mut().and_then(|rules| rules.changed(Duration::from_nanos(now_ns)))
        {
            self.attribution.set_policy(policy);
        }
        self.drain(sink)?;
        // After what waited was taken: who calls models is known then, and keeps probes that others lose.
        if let Some(policy) = &mut self.policy {
            policy.tick(&mut self.loaded.ebpf, &mut self.tables, now_ns);
        }
        self.feed(Event::Tick { time_ns: now_ns });
        self.deliver(sink)?;
        let gaps = sink.gaps();
        if gaps.is_empty() { Ok(()) } else { self.status(sink, false, gaps) }
    }

    /// Takes every pending event.
    fn drain(&mut self, sink: &mut dyn Sink) -> Result<(), SensorError> {
        loop {
            // Taken before the ring is read, given on after: their processes are known by then.
            let mut found =
                self.inspector.as_mut().map(|(_, events)| waiting(events, BATCH)).unwrap_or_default();
            found.retain(|event| self.is_watched(event));
            let mut events = Vec::new();
            let (delivered, malformed) = (&mut self.delivered, &mut self.malformed);
            let taken = self.reader.drain(BATCH, |bytes| {
                if let Some(count) = source::kind(bytes).and_then(|kind| delivered.get_mut(usize::from(kind)))
                {
                    *count += 1;
                }
                match source::parse(bytes) {
                    Ok(event) => events.push(event),
                    Err(error) => {
                        tracing::debug!(%error, "kernel event skipped");
                        *malformed += 1;
                    }
                }
            });
            in_order(events, found).for_each(|event| self.event(event));
            self.deliver(sink)?;
            if taken < BATCH {
                return Ok(());
            }
        }
    }

    fn event(&mut self, mut event: Event) {
        let executed = match &event {
            Event::Exec { task, .. } => Some(task.process),
            _ => None,
        };
        match &mut event {
            Event::Exec { task, image, time_ns, .. } => {
                self.executables.resolve(task.process.pid, image);
                self.learn_cgroup(task.cgroup_id, task.process.pid);
                if let Some(policy) = &mut self.policy {
                    policy.exec(&mut self.loaded.ebpf, task.process, image.file, &image.exe, *time_ns);
                }
                if let Some((inspector, _)) = &self.inspector {
                    inspector.exec(*time_ns, task.process, image.file, image.args.get(1).cloned());
                }
            }
            Event::Exit { process, .. } => {
                if let Some(policy) = &mut self.policy {
                    policy.exit(*process);
                }
            }
            Event::Payload { flow, .. } | Event::Connect { flow, .. } => {
                let (id, pid) = (flow.task.cgroup_id, flow.task.process.pid);
                self.learn_cgroup(id, pid);
            }
            Event::Tls { task, .. } => {
                let (id, pid) = (task.cgroup_id, task.process.pid);
                self.learn_cgroup(id, pid);
                self.learn_probed();
            }
            _ => {}
        }
        self.feed(event);
        // After the process is known.
        executed.into_iter().for_each(|process| self.learn_member(process));
    }

    /// Opens of files are told of all processes.
    fn is_watched(&self, event: &Event) -> bool {
        match event {
            Event::CredentialFile { opener: Opener::Pid { pid, .. }, .. } => self.watched.has_process(*pid),
            _ => true,
        }
    }

    /// Tells attribution, and the recording if there is one.
    fn feed(&mut self, event: Event) {
        let Some(recorder) = &mut self.recorder else { return self.attribution.event(event) };
        if let Err(error) = recorder.feed(&mut self.attribution, event) {
            tracing::error!(%error, "the recording ends here: it cannot be written");
            self.recorder = None;
        }
    }

    fn learn_cgroup(&mut self, id: u64, pid: u32) {
        if let Some(event) = self.watch.cgroup(id, pid) {
            self.feed(event);
        }
    }

    /// Names what was probed lately, before plaintext of it is read.
    fn learn_probed(&mut self) {
        for (probe, library) in self.policy.as_mut().map(Policy::named).unwrap_or_default() {
            self.feed(Event::Probed { probe, library });
        }
    }

    fn learn_member(&mut self, process: ProcessKey) {
        if let Some(event) = self.watch.member(process) {
            self.feed(event);
        }
    }

    /// Carries out what attribution asked for.
    fn deliver(&mut self, sink: &mut dyn Sink) -> Result<(), SensorError> {
        let mut written = false;
        loop {
            let outputs = self.attribution.outputs();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Record(record) => {
                        sink.write(&record).map_err(SensorError::Sink)?;
                        written = true;
                    }
                    Output::Verdict { connection, model } => {
                        let verdict = if model { verdict::MODEL } else { verdict::OTHER };
                        self.tables.set_verdict(connection, verdict)?;
                    }
                    Output::Ended(connection) => self.tables.forget(connection),
                    Output::ModelAddress(address) => self.tables.add_model_address(address)?,
                    Output::Caller(process) => self.caller(process),
                    Output::Learned(file) => {
                        if let Some(policy) = &mut self.policy {
                            policy.learn(file);
                        }
                    }
                }
            }
        }
        if written {
            sink.flush().map_err(SensorError::Sink)?;
        }
        Ok(())
    }

    fn caller(&mut self, process: ProcessKey) {
        self.learn_member(process);
        self.watch.sources().ask_process(process);
        let Some(policy) = &mut self.policy else { return };
        let coverage = policy.caller(&mut self.loaded.ebpf, process, boot_ns());
        policy.allow_search(&mut self.tables);
        let Coverage { library: name, method, reason } = coverage;
        self.feed(Event::Library { process, library: TlsLibrary { name, method, reason } });
    }

    /// A large file was read for TLS functions.
    fn found(&mut self, found: Found, sink: &mut dyn Sink) -> Result<(), SensorError> {
        let Some(policy) = &mut self.policy else { return Ok(()) };
        for process in policy.found(&mut self.loaded.ebpf, found, boot_ns()) {
            self.caller(process);
        }
        self.deliver(sink)
    }

    fn status(&mut self, sink: &mut dyn Sink, last: bool, gaps: Vec<Gap>) -> Result<(), SensorError> {
        let mut status = self.status_body(last)?;
        status.gaps = gaps;
        self.attribution.status(status);
        self.deliver(sink)
    }

    /// Detaches, takes what is still in the ring, and ends what is open.
    fn stop(mut self, sink: &mut dyn Sink) -> Result<(), SensorError> {
        if let Some(policy) = self.policy.take() {
            self.probed = Counts { files: 0, demoted: 0, ..policy.counts() };
            policy.finish();
        }
        let found = match self.inspector.take() {
            Some((inspector, mut events)) => {
                // Its threads end first: nothing comes after.
                drop(inspector);
                waiting(&mut events, usize::MAX)
            }
            None => Vec::new(),
        };
        self.loaded.detach();
        // A program that was running while it was detached may still deliver.
        for _ in 0..LAST_READS {
            self.drain(sink)?;
            if self.in_flight()? == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        found.into_iter().for_each(|event| self.event(event));
        self.attribution.finish();
        if let Some(recorder) = self.recorder.take() {
            recorder.finish(&mut self.attribution).map_err(SensorError::Record)?;
        }
        self.deliver(sink)?;
        let gaps = sink.gaps();
        self.status(sink, true, gaps)
    }
}
