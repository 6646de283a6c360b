//! Events of the end-of-flow hook.

use crate::{Header, connect, layout};

layout! {
    /// A flow of which payload was reported ended.
    pub struct Close {
        /// Common part.
        pub header: Header,
        /// The flow.
        pub flow: connect::Flow,
        /// Payload bytes sent, each counted once.
        pub bytes_sent: u64,
        /// Payload bytes received.
        pub bytes_received: u64,
    }
}
