//! `keywitness run`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use attribution::call::Toolkit;
use tokio::signal::unix::{SignalKind, signal};
use uplink::{Settings, Uplink};

use super::{look_back, report::Refused};
use crate::{
    bpf,
    config::{Collector, Config, Export},
    export::sink::Exporter,
    fleet_key,
    live::Hub,
    metrics::{self, Running, Server, Tally},
    sensor::{
        Options, Sensor, SensorError,
        health::{self, Probe},
    },
    sink::{self, fan_out::FanOut},
    term::Term,
};

/// File in the state folder with what was located in large executables.
const LOCATED: &str = "located.json";
/// File in the state folder with how far the collector has the log.
const PLACE: &str = "collector.position";

/// Runs the sensor until SIGINT or SIGTERM.
pub(super) fn run(
    state_dir: &Path,
    policy: Option<&Path>,
    config: Config,
    record: Option<PathBuf>,
    term: Term,
) -> anyhow::Result<ExitCode> {
    bpf::give_back_large_blocks();
    let catalogue = Arc::new(config.catalogue()?);
    let prices = config.prices()?;
    let opened = fleet_key::open(state_dir)?;
    if opened.created {
        tracing::info!(state_dir = %state_dir.display(), key_id = opened.key.key_id(), "fleet key created");
    }
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot_id = boot_id.trim().to_owned();
    let sink = sink::open(config.output.format, term, std::io::stdout());
    let (sink, past) = super::log::open(state_dir, &config.log, &opened.key, &boot_id, sink)?;
    let (policy, watch) =
        look_back::source(policy, state_dir, &config).watch().map_err(look_back::refused)?;
    if config.kernel.log {
        tracing_log::LogTracer::init().context("cannot receive kernel-side diagnostics")?;
    }
    let uplink = uplink(state_dir, &config)?;
    let kit = Toolkit::new(catalogue, Arc::new(opened.key), config.credentials.hint).with_prices(prices);
    let options = Options {
        ring_bytes: config.kernel.ring_bytes.get(),
        kernel_log: config.kernel.log,
        cgroup: config.kernel.cgroup.as_ref().map(|path| path.as_str().to_owned()),
        disabled_hooks: config.kernel.disabled_hooks.iter().map(|hook| hook.as_str().to_owned()).collect(),
        status_every: config.output.status_interval_s.get(),
        tls: config.tls.enabled,
        hit_budget_per_s: u64::from(config.tls.hit_budget_per_s),
        located: state_dir.join(LOCATED),
        known_executables: config.tls.known_executables.clone(),
        watch: config.credentials.watch.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        host: host(&config)?,
        record,
        boot_id,
        identity: config.identity.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        // Before anything is attached, so that no signal can leave something behind.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let exporters = exporters(&config)?;
        let (probe, questions) = health::probe();
        let (tally, server) = metrics(&config, state_dir, &exporters, uplink.as_ref(), &probe)?.unzip();
        let mut sensor = Sensor::start(options, kit, past).map_err(without_wrapper)?;
        sensor.set_policy(policy, watch);
        sensor.answer(questions);
        let mut sink = FanOut::new(sink, live(state_dir), exporters, tally);
        let ready = |is: bool| server.iter().for_each(|server: &Server| server.ready(is));
        ready(true);
        service::ready();
        tracing::info!("attached; every model call on this host is shown from now on (stop with Ctrl-C)");
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                never = service::watchdog(async || Some(probe.ask().await?.summary())) => match never {},
            }
            ready(false);
            service::stopping();
        };
        let ended = sensor.run(&mut sink, stop).await.map_err(without_wrapper);
        // With the sink the log ends, and with it what the collector gets.
        sink.finish().await;
        ended
    })?;
    if let Some(uplink) = uplink {
        uplink.stop();
    }
    Ok(ExitCode::SUCCESS)
}

/// Where records are counted and the server of the counts, if the configuration wants one.
fn metrics(
    config: &Config,
    state_dir: &Path,
    exporters: &[Exporter],
    uplink: Option<&Uplink>,
    probe: &Probe,
) -> anyhow::Result<Option<(Tally, Server)>> {
    let Some(listen) = config.metrics.listen else { return Ok(None) };
    let log = config.log.enabled;
    let sources = metrics::Sources {
        tally: Tally::default(),
        receivers: exporters.iter().map(Exporter::account).collect(),
        log: log.then(|| (config.log.folder(state_dir), config.log.retain_bytes.get())),
        uplink: uplink.map(|uplink| uplink.progress().clone()),
        ring_bytes: config.kernel.ring_bytes.get(),
    };
    let tally = sources.tally.clone();
    let running = Running { sources, probe: probe.clone() };
    let server = Server::start(listen, running).map_err(|error| {
        let help = "free the port, or set another address in [metrics] of the configuration";
        Refused::new(format!("cannot serve metrics on {listen}: {error}"), help)
    })?;
    Ok(Some((tally, server)))
}

/// Begins to send the log to the collector that is configured.
fn uplink(state_dir: &Path, config: &Config) -> anyhow::Result<Option<Uplink>> {
    let Collector { endpoints, ca, cert, key } = &config.collector;
    if endpoints.as_slice().is_empty() {
        return Ok(None);
    }
    if !config.log.enabled {
        let message = "a collector is configured, and the log that it would get is not kept";
        return Err(Refused::new(
            message,
            "leave out --no-log and log.enabled = false, or collector.endpoints",
        )
        .into());
    }
    let settings = Settings {
        log: config.log.folder(state_dir),
        place: state_dir.join(PLACE),
        endpoints: endpoints.as_slice().to_owned(),
        ca: ca.clone(),
        certificate: cert.clone(),
        key: key.clone(),
    };
    Ok(Some(Uplink::start(settings).context("cannot start sending to the collector")?))
}

fn exporters(config: &Config) -> anyhow::Result<Vec<Exporter>> {
    let start = |(name, export): (&String, &Export)| {
        let started = Exporter::start(name, &export.address, export.filter.clone(), export.limits);
        started.map_err(|error| {
            let help =
                "correct it in the configuration; `keywitness config show-default` shows every setting";
            Refused::new(format!("export.{name}: {error}"), help).into()
        })
    };
    config.export.iter().map(start).collect()
}

/// Without it nobody can follow, but everything else works.
fn live(state_dir: &Path) -> Option<Hub> {
    let hub = Hub::open(state_dir);
    hub.inspect_err(|error| tracing::warn!(%error, "`keywitness observe --follow` will not work")).ok()
}

/// The error itself where the command line knows what to advise.
fn without_wrapper(error: SensorError) -> anyhow::Error {
    match error {
        SensorError::Load(load) => load.into(),
        other => other.into(),
    }
}

fn host(config: &Config) -> anyhow::Result<String> {
    match &config.identity.host {
        Some(host) => Ok(host.as_str().to_owned()),
        None => {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
                .context("cannot read the host name; set identity.host in the configuration")?;
            Ok(name.trim().to_owned())
        }
    }
}
