//! Limits of attribution's own tables, and what was counted against them.

/// TLS connections whose plaintext is followed.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Probed libraries whose names are remembered: more than the kernel programs tell apart.
pub(super) const MAX_PROBED: usize = 2048;
/// Processes of which the TLS library is remembered.
pub(super) const MAX_LIBRARIES: usize = 16_384;
/// Connections remembered as going elsewhere, so that what is still on its way of them is not read.
pub(super) const MAX_ELSEWHERE: usize = 4096;
/// How often the tables are searched for what is over, nanoseconds.
pub(super) const SWEEP_NS: u64 = 10_000_000_000;
/// A connection without reads and writes for this long is given up, and a flow of an ended process,
/// nanoseconds.
pub(super) const IDLE_NS: u64 = 900_000_000_000;

/// How long the rest of a QUIC ClientHello is waited for, nanoseconds.
pub(super) const QUIC_WAIT_NS: u64 = 3_000_000_000;

/// Totals and fill of the tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls told.
    pub calls: u64,
    /// Calls without a flow.
    pub calls_unbound: u64,
    /// Calls with tokens whose model has no price.
    pub unpriced_model: u64,
    /// Calls whose service tier has no price.
    pub unpriced_tier: u64,
    /// Flows to model endpoints told.
    pub flows_model: u64,
    /// Of these, flows whose plaintext was read.
    pub flows_plaintext: u64,
    /// DNS messages and hellos that could not be read.
    pub malformed: u64,
    /// First payloads of which a part is missing.
    pub out_of_order: u64,
    /// Connections not followed because the table was full.
    pub connections_refused: u64,
    /// Flows not followed because the table was full.
    pub flows_refused: u64,
    /// Live processes not kept because the table was full.
    pub processes_evicted: u64,
    /// Opened credential files whose opener could not be named.
    pub openers_unknown: u64,
    /// Processes whose credential files and environment are remembered.
    pub holders: u64,
    /// Processes not remembered because that table was full.
    pub holders_refused: u64,
    /// Processes in the table.
    pub processes: u64,
    /// Flows in the table.
    pub flows: u64,
    /// Sessions not followed because the table was full.
    pub sessions_refused: u64,
    /// Sessions in the table.
    pub sessions: u64,
    /// Connections in the table.
    pub connections: u64,
    /// Addresses with a name.
    pub names: u64,
    /// Cgroups in the table.
    pub cgroups: u64,
    /// Containers, pods, units and processes of which a source has told.
    pub identities: u64,
}
