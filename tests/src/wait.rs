//! Waiting for conditions instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::oneshot;

/// Time between two looks at a condition that cannot notify.
const STEP: Duration = Duration::from_millis(5);

/// Calls `check` until it gives a value; fails after `limit`, naming `what`.
pub fn until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
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
