//! Every kernel table: who writes, who reads, its limit and why that is enough.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    Counters,
    connect::{FLOW_SLOTS, Flow},
    kind,
    tls::{AeadBound, AeadKey, Call, Connection, Handle, Hits, Layout, MAX_TARGETS, Opening, Pieces, Sealed},
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

/// Calls of Go's TLS functions under way, by goroutine, place on its stack, and process.
#[map]
pub static GO_CALLS: LruHashMap<[u64; 2], Call> = LruHashMap::with_max_entries(32768, 0);

/// Connections of AEAD keys, as the wire proved them.
#[map]
pub static AEAD_BOUND: LruHashMap<AeadKey, AeadBound> = LruHashMap::with_max_entries(8192, 0);

/// Records being encrypted by a thread whose key is not bound yet.
#[map]
pub static AEAD_SEALING: LruHashMap<u64, Sealed> = LruHashMap::with_max_entries(128, 0);

/// Records of such keys by the beginning of their ciphertext, until it is seen on the wire.
#[map]
pub static AEAD_SEALED: LruHashMap<[u8; 16], Sealed> = LruHashMap::with_max_entries(256, 0);

/// Records being decrypted by a thread.
#[map]
pub static AEAD_OPENING: LruHashMap<u64, Opening> = LruHashMap::with_max_entries(4096, 0);

/// Records that a thread encrypts or decrypts in pieces. Entries of threads that died meanwhile age out.
#[map]
pub static AEAD_PIECES: LruHashMap<u64, Pieces> = LruHashMap::with_max_entries(4096, 0);

/// First counter block of the last record that a thread encrypted.
#[map]
pub static AEAD_LAST: LruHashMap<u64, [u64; 2]> = LruHashMap::with_max_entries(4096, 0);

/// Connections bound by what they sent, by socket cookie: their answers are expected.
#[map]
pub static AEAD_FLOWS: LruHashMap<u64, AeadBound> = LruHashMap::with_max_entries(8192, 0);

/// Records of answers by the beginning of their ciphertext, until they are decrypted.
#[map]
pub static AEAD_ARRIVED: LruHashMap<[u8; 16], AeadBound> = LruHashMap::with_max_entries(8192, 0);

/// Room to put a [`Sealed`] together.
#[map]
pub static AEAD_ROOM: PerCpuArray<Sealed> = PerCpuArray::with_max_entries(1, 0);

/// 1 once an AEAD probe was hit: only then packets after the handshake are looked at.
#[map]
pub static AEAD_ACTIVE: Array<u32> = Array::with_max_entries(1, 0);

/// 1 once a cleartext request was sent whose answer is wanted: only then arriving packets are looked at.
#[map]
pub static CLEAR_ACTIVE: Array<u32> = Array::with_max_entries(1, 0);

/// Where each probed library keeps the client random. Learned here, read by user space.
#[map]
pub static LAYOUTS: Array<Layout> = Array::with_max_entries(MAX_TARGETS, 0);

/// Hits of each probed file, for the hit budget. Written here, read by user space.
#[map]
pub static HITS: PerCpuArray<Hits> = PerCpuArray::with_max_entries(MAX_TARGETS, 0);
