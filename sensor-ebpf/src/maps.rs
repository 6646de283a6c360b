//! Every kernel table: who writes, who reads, its limit and why that is enough.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    Counters,
    connect::{FLOW_SLOTS, Flow},
    kind,
    tls::{Call, Connection, Handle, Hits, Layout, MAX_TARGETS},
};

/// All events, in one order for all CPUs: a process event precedes what the process does next.
/// User space may enlarge it before load.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Produced and lost events by kind. Written here, read by user space.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(kind::COUNT, 0);

/// Flows, each in the slot that its socket cookie selects: put in at connect, taken out when the socket
/// is destroyed. A slot names its cookie, and a cookie is never used again, so an entry cannot pass to
/// another socket; a socket whose cookie is [`FLOW_SLOTS`] higher makes the older entry go. Against a hash
/// table this saves the lock, the list and the copy of each connect and close, against socket storage
/// the allocation as well. Only `crate::flows` touches it.
#[map]
pub static FLOWS: Array<Flow> = Array::with_max_entries(FLOW_SLOTS, 0);

/// Addresses that user space saw model hosts have; a sign to attach early, never evidence of who
/// owns the address. Bytes as in [`sensor_common::connect::Address::ip`].
#[map]
pub static MODEL_ADDRESSES: LruHashMap<[u8; 16], u32> = LruHashMap::with_max_entries(8192, 0);

/// TLS connections by client random (put in by the handshake hook, or unbound by the TLS hook).
/// The least recently used makes room; a connection that lost its entry is reported unbound.
#[map]
pub static CONNECTIONS: LruHashMap<Handle, Connection> = LruHashMap::with_max_entries(32768, 0);

/// What user space decided about connections ([`sensor_common::tls::verdict`]).
#[map]
pub static VERDICTS: LruHashMap<Handle, u8> = LruHashMap::with_max_entries(32768, 0);

/// TLS calls under way by thread. Entries of threads that died inside a call age out.
#[map]
pub static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(32768, 0);

/// Where each probed library keeps the client random. Learned here, read by user space.
#[map]
pub static LAYOUTS: Array<Layout> = Array::with_max_entries(MAX_TARGETS, 0);

/// Hits of each probed file, for the hit budget. Written here, read by user space.
#[map]
pub static HITS: PerCpuArray<Hits> = PerCpuArray::with_max_entries(MAX_TARGETS, 0);
