//! What a service manager is told: that the program is ready, lives, stops (sd_notify(3)). Without one, nothing.
#![forbid(unsafe_code)]

use std::{convert::Infallible, future::pending};

use sd_notify::NotifyState;
use tokio::time::interval;

/// It does its work from now on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells twice in each watchdog interval that the program works, as far as `alive` knows, with the state in a few
/// words. While that gives nothing, nothing is told, and the service manager starts the program anew.
pub async fn watchdog(alive: impl AsyncFn() -> Option<String>) -> Infallible {
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    let mut beat = interval(limit / 2);
    loop {
        beat.tick().await;
        if let Some(state) = alive().await {
            tell(&[NotifyState::Watchdog, NotifyState::Status(&state)]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
