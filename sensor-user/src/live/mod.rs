//! Live records of a running sensor, by a Unix socket in its state folder.
//!
//! The client sends one JSON line, a [`Request`]. Then it gets record lines as they are made, and between
//! them [`Control`] lines, which have the one member `control`. A client that reads too slowly loses records,
//! never the sensor; how many is told before what comes next.

mod client;
mod hub;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use attribution::filter::Filter;
use serde::{Deserialize, Serialize};

pub use client::{Follower, Message, follow};
pub use hub::Hub;

/// Longest request, bytes.
const MAX_REQUEST: usize = 256 * 1024;

/// What a client asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    filter: Filter,
}

/// A line that is no record.
#[derive(Debug, Serialize, Deserialize)]
struct Control {
    control: Event,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    /// The request is good; records follow.
    Following,
    /// The request cannot be met, and why.
    Refused(String),
    /// So many records were left out here.
    Dropped(u64),
}

/// The socket of the sensor with this state folder.
fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("keywitness.sock")
}
