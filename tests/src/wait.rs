//! Waiting for conditions instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::oneshot;

/// Time between two looks at a condition that cannot notify.
const STEP: Duration = Duration::from_millis(5);

/// How many times as long as usual a condition may take, where the machine is known to be slow: an emulated one is.
pub const PATIENCE_VARIABLE: &str = "KEYWITNESS_PATIENCE";

/// `limit`, longer on a slow machine.
pub fn stretched(limit: Duration) -> Duration {
    let factor = std::env::var(PATIENCE_VARIABLE).ok().and_then(|text| text.parse().ok());
    limit * factor.unwrap_or(1)
}

/// Calls `check` until it gives a value; fails after `limit`, naming `what`.
pub fn until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let limit = stretched(limit);
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = check()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {limit:?} in vain for {what}");
        }
        std::thread::sleep(STEP);
    }
}

/// Resolves when standard input is closed. Reads on a thread of its own, because the runtime would
/// wait for a pending read of its own when it ends.
pub async fn closed_input() {
    let (closed, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        drop(closed);
    });
    drop(wait.await);
}
