//! Waiting for conditions instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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
