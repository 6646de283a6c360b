//! Recorded events: what may be written of an event, so that it replays without any secret.
//!
//! Plaintext is not written at all. What was read out of it stands in its place as [`Decoded`]: the parts of records,
//! which hold fingerprints and counts only. A ClientHello is kept, it is sent in the clear and has no secret. So a
//! replay goes through the whole of attribution but for HTTP and what is below it.

use serde::{Deserialize, Serialize};

use crate::call::{Finished, Toolkit};
use crate::decode::http::BrokenReason;
use crate::event::{Event, Plaintext, Shape};
use crate::flow::Host;
use crate::identity::arguments;

/// Form of the lines; another is refused.
pub const VERSION: u32 = 1;

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub keywitness_events: u32,
    /// Host name in records.
    pub host: String,
    /// Boot id in records.
    pub boot_id: String,
}

/// What was read out of plaintext.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoded {
    /// A call is over.
    Call {
        /// Socket cookie, 0 when unbound.
        cookie: u64,
        /// Whether it was read without TLS.
        cleartext: bool,
        /// Why it is unbound.
        unbound_reason: String,
        /// What is known of it.
        call: Box<Finished>,
    },
    /// What plaintext told of a flow that ends.
    Flow {
        /// Socket cookie.
        cookie: u64,
        /// Whether it was read.
        plaintext: bool,
        /// What read it; nothing in recordings of old.
        #[serde(default)]
        probe: Option<u32>,
        /// Why the rest of it could not be read, if so.
        lost: Option<BrokenReason>,
        /// Whether it is a tunnel.
        tunnel: bool,
        /// Whether it goes to a model endpoint.
        model: bool,
        /// Best known host.
        host: Option<Host>,
        /// Provider.
        provider: Option<String>,
    },
    /// A flow was found to go elsewhere.
    Gone {
        /// Socket cookie.
        cookie: u64,
    },
}

/// `event` as it may be written; nothing when all of it is plaintext. Every kind is decided here by name.
pub fn recordable(event: &Event, kit: &Toolkit) -> Option<Event> {
    let mut event = event.clone();
    match &mut event {
        Event::Tls { .. } | Event::Cleartext { .. } => return None,
        Event::Payload { shape: Shape::Tls, .. } => {}
        Event::Payload { bytes, offset, .. } => *bytes = masked(bytes.len(), *offset),
        Event::Exec { image, .. } | Event::Running { image, .. } => {
            let args = std::mem::take(&mut image.args);
            image.args = arguments::presentable(kit.redactor.redact_args(args));
        }
        Event::Clock { .. }
        | Event::Fork { .. }
        | Event::Exit { .. }
        | Event::Cgroup { .. }
        | Event::Existing { .. }
        | Event::Watching
        | Event::CredentialFile { .. }
        | Event::Environment { .. }
        | Event::Connect { .. }
        | Event::Close { .. }
        | Event::Dns { .. }
        | Event::Probed { .. }
        | Event::Library { .. }
        | Event::Decoded { .. }
        | Event::Member { .. }
        | Event::CgroupGone { .. }
        | Event::Identity(_)
        | Event::Source { .. }
        | Event::Tick { .. } => {}
    }
    Some(event)
}

/// A request without end and content, as long as what it stands for, so that positions stay and it is followed.
fn masked(length: usize, offset: u32) -> Plaintext {
    const START: &[u8] = b"POST /";
    let start = if offset == 0 { START } else { b"" };
    let bytes: Vec<u8> = start.iter().copied().chain(std::iter::repeat(b'x')).take(length).collect();
    Plaintext::copy(&bytes)
}
