//! What a service manager is told: that the sensor watches, lives, stops (sd_notify(3)). Without one, nothing.

use std::{convert::Infallible, future::pending};

use sd_notify::NotifyState;
use tokio::time::interval;

use crate::sensor::health::{Health, Probe};

/// Everything is attached.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The sensor detaches and ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells twice in each watchdog interval that the event loop answers `probe`, with the state in a few words.
/// When it does not answer, nothing is told, and the service manager starts the sensor anew.
pub async fn watchdog(probe: &Probe) -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut beat = interval(limit / 2);
    loop {
        beat.tick().await;
        if let Some(health) = probe.ask().await {
            tell(&[NotifyState::Watchdog, NotifyState::Status(&state(&health))]);
        }
    }
}

fn state(health: &Health) -> String {
    let status = &health.status;
    let attached = status.hooks.iter().filter(|hook| hook.state != "missing").count();
    let lost = status.lost.iter().map(|loss| loss.count).sum::<u64>();
    format!(
        "{attached} of {} hooks; {} calls ({} unbound); {lost} of {} events lost",
        status.hooks.len(),
        status.calls,
        status.calls_unbound,
        status.produced,
    )
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{HookState, Loss, Status};

    use super::*;

    #[test]
    fn the_state_says_what_is_attached_seen_and_lost() {
        let hook = |state: &str| HookState { state: state.into(), ..Default::default() };
        let loss = |count| Loss { count, ..Default::default() };
        let status = Status {
            hooks: vec![hook("attached"), hook("missing")],
            calls: 5,
            calls_unbound: 1,
            produced: 100,
            lost: vec![loss(2), loss(3)],
            ..Default::default()
        };
        let health = Health { status, ..Default::default() };
        assert_eq!(state(&health), "1 of 2 hooks; 5 calls (1 unbound); 5 of 100 events lost");
    }
}
