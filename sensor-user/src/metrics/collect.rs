//! Puts on the page what the sensor says of itself, and what its process and its log take.

use std::sync::atomic::{AtomicU64, Ordering};

use ::metrics::{Page, host};
use sensor_common::{cause, kind};
use uplink::Progress;

use super::{Sources, table};
use crate::{export::sink::QUEUE, sensor::health::Health};

const NS_PER_S: f64 = 1e9;
/// Everything that the table names, as it is now.
pub(super) fn fill(page: &mut Page, health: &Health, sources: &Sources) {
    page.add(table::BUILD, [env!("CARGO_PKG_VERSION")], 1.0);
    page.add(table::START_TIME, [], health.status.since as f64 / NS_PER_S);
    host::process(page, table::MEMORY, table::CPU);
    events(page, health);
    page.add(table::RING, [], f64::from(sources.ring_bytes));
    sensor(page, health);
    sources.tally.fill(page);
    if let Some((folder, limit)) = &sources.log {
        page.add(table::LOG_BYTES, [], host::size(folder) as f64);
        page.add(table::LOG_LIMIT, [], *limit as f64);
    }
    receivers(page, sources);
    if let Some(progress) = &sources.uplink {
        uplink(page, progress);
    }
}

fn events(page: &mut Page, health: &Health) {
    for (at, name) in kind::NAMES.iter().enumerate() {
        let of = |counts: &[u64]| counts.get(at).copied().unwrap_or_default() as f64;
        page.add(table::PRODUCED, [name], of(&health.losses.produced));
        page.add(table::DELIVERED, [name], of(&health.delivered));
        let lost = health.losses.lost.get(at).into_iter().flatten();
        for (index, (cause, count)) in cause::NAMES.iter().zip(lost).enumerate() {
            // These were shortened, and stand among what was skipped.
            if index != cause::OVER_LIMIT as usize {
                page.add(table::LOST, [name, cause], *count as f64);
            }
        }
    }
    page.add(table::IN_FLIGHT, [], health.in_flight() as f64);
}

fn sensor(page: &mut Page, health: &Health) {
    for skipped in &health.status.skipped {
        page.add(table::SKIPPED, [&skipped.kind, &skipped.cause], skipped.count as f64);
    }
    for (name, value, limit) in health.tables() {
        page.add(table::TABLE_ENTRIES, [name], value as f64);
        page.add(table::TABLE_LIMIT, [name], limit as f64);
    }
    for hook in &health.status.hooks {
        page.add(table::HOOK, [&hook.name], f64::from(u8::from(hook.state != "missing")));
    }
    for run in &health.programs {
        page.add(table::PROGRAM_TIME, [&run.program], run.time.as_secs_f64());
        page.add(table::PROGRAM_RUNS, [&run.program], run.runs as f64);
    }
    for source in &health.status.sources {
        page.add(table::SOURCE, [&source.name, &source.state], 1.0);
    }
    page.add(table::FLOWS, [], health.status.flows as f64);
    page.add(table::FLOWS_PLAINTEXT, [], health.status.flows_plaintext as f64);
}

fn receivers(page: &mut Page, sources: &Sources) {
    page.add(table::EXPORT_LIMIT, [], QUEUE as f64);
    for account in &sources.receivers {
        let name = account.receiver();
        // Read first: what is delivered meanwhile was offered before.
        let delivered = account.delivered();
        let dropped = account.dropped();
        let offered = account.offered();
        for (cause, count) in dropped {
            page.add(table::EXPORT_DROPPED, [name, cause], count as f64);
        }
        let settled = dropped.iter().map(|(_, count)| count).sum::<u64>().saturating_add(delivered);
        page.add(table::EXPORT_DELIVERED, [name], delivered as f64);
        page.add(table::EXPORT_OFFERED, [name], offered as f64);
        page.add(table::EXPORT_WAITING, [name], offered.saturating_sub(settled) as f64);
    }
}

fn uplink(page: &mut Page, progress: &Progress) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    page.add(table::UPLINK_CONNECTED, [], f64::from(u8::from(progress.connected.load(Ordering::Relaxed))));
    page.add(table::UPLINK_LAG, [], progress.lag().as_secs_f64());
    page.add(table::UPLINK_SENT, [], count(&progress.sent));
    page.add(table::UPLINK_ACKNOWLEDGED, [], count(&progress.acknowledged));
    page.add(table::UPLINK_DUPLICATES, [], count(&progress.duplicates));
    page.add(table::UPLINK_FAILURES, [], count(&progress.failures));
}
