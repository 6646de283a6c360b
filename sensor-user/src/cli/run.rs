//! `keywitness run`.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use attribution::call::Toolkit;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::Config,
    fleet_key,
    sensor::{Options, Sensor, SensorError},
    sink,
    term::Term,
};

/// Runs the sensor until SIGINT or SIGTERM.
pub(super) fn run(state_dir: &Path, config: Config, term: Term) -> anyhow::Result<ExitCode> {
    let catalogue = Arc::new(config.catalogue()?);
    let opened = fleet_key::open(state_dir)?;
    if opened.created {
        tracing::info!(state_dir = %state_dir.display(), key_id = opened.key.key_id(), "fleet key created");
    }
    let kit = Toolkit::new(catalogue, Arc::new(opened.key), config.credentials.hint);
    let mut sink = sink::open(config.output.format, term, std::io::stdout());
    if config.kernel.log {
        tracing_log::LogTracer::init().context("cannot receive kernel-side diagnostics")?;
    }
    let options = Options {
        ring_bytes: config.kernel.ring_bytes.get(),
        kernel_log: config.kernel.log,
        status_every: config.output.status_interval_s.get(),
        tls: config.tls.enabled,
        hit_budget_per_s: u64::from(config.tls.hit_budget_per_s),
        known_executables: config.tls.known_executables.clone(),
        watch: config.credentials.watch.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        host: host(&config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        // Before anything is attached, so that no signal can leave something behind.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let sensor = Sensor::start(options, kit).map_err(without_wrapper)?;
        tracing::info!("attached; every model call on this host is shown from now on (stop with Ctrl-C)");
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        sensor.run(sink.as_mut(), stop).await.map_err(without_wrapper)
    })?;
    Ok(ExitCode::SUCCESS)
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
