//! Plaintext at the AEAD layer, for TLS libraries without recognisable functions (rustls).
//!
//! Hook: uprobes on the entry of the encrypting and decrypting functions of AES-GCM and on the returns of their
//! callers (x86-64); `gcm` tells where a record begins and ends that is worked on in pieces. A call is a TLS 1.3
//! record when the last byte is its inner type (RFC 8446 5.2) and the wire agrees (`wire`): the first record
//! of a key is kept until the egress hook sees a record that begins with the same 16 bytes of ciphertext; that
//! binds the key to the socket. The answers' key is bound the other way round: 16 bytes that arrived on a
//! bound socket are then decrypted. So other uses of the cipher are never
//! told. A key is named by its address and what it is made of: an address that is used again has other
//! contents. A record of a library whose functions are probed in the same program (`tls`) is left to it. Missed: TLS 1.2 (no inner type), other ciphers, and first records that do not begin in the
//! first records of a packet.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, bpf_probe_read_user_buf},
    macros::uprobe,
    programs::ProbeContext,
};
use sensor_common::{
    cause, kind,
    tls::{AeadBound, AeadKey, Call, MAX_CHUNK, MAX_SEALED, Opening, direction, handle, order},
};

use super::{
    gcm,
    probe::Told,
    tls::{self, stack_pointer},
};
use crate::{
    emit,
    maps::{
        AEAD_ACTIVE, AEAD_ARRIVED, AEAD_BOUND, AEAD_LAST, AEAD_OPENING, AEAD_ROOM, AEAD_SEALED, AEAD_SEALING,
    },
    offsets,
};

/// Inner type and outer type of application data (RFC 8446 5.1).
pub(super) const APPLICATION_DATA: u8 = 0x17;
/// Most stack between an encrypting function and the return of its caller, bytes.
const MAX_FRAME: u64 = 4096;

#[uprobe]
fn kw_aead_enter(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

#[uprobe]
fn kw_aead_return(ctx: ProbeContext) -> u32 {
    let _ = returned(&ctx);
    0
}

#[inline(always)]
pub(super) fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address; only integers and byte arrays are read.
    unsafe { bpf_probe_read_user(address as *const T) }.ok()
}

/// Names the key schedule at `address`.
#[inline(always)]
fn key(address: u64, tgid: u32) -> Option<AeadKey> {
    let [a, b]: [u64; 2] = read(address)?;
    // Not to be turned back: half of what goes in is lost.
    let mixed = (a ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        ^ b.wrapping_mul(0x94d0_49bb_1331_11eb).rotate_left(29);
    Some(AeadKey {
        address,
        mark: (mixed ^ mixed >> 31).wrapping_mul(0x9e6c_63d0_676a_9a99) ^ u64::from(tgid),
    })
}

/// A record that is about to be encrypted or decrypted.
struct Record {
    input: u64,
    output: u64,
    /// Plaintext bytes with the inner type.
    len: u64,
    /// Address of what names the key.
    key: u64,
    /// Address of the first counter block, which begins with the record's nonce.
    counter: u64,
    /// By what its end is recognised.
    stack: u64,
    target: u32,
}

#[inline(always)]
fn enter(ctx: &ProbeContext) -> Option<()> {
    let told = Told::if_watched(ctx)?;
    if tls::is_inside_call(ctx) {
        return told.count(); // the call reports
    }
    let target = told.target();
    // All are read whatever the order: the verifier refuses an address in the context that is computed.
    let arguments: [u64; 6] = [ctx.arg(0)?, ctx.arg(1)?, ctx.arg(2)?, ctx.arg(3)?, ctx.arg(4)?, ctx.arg(5)?];
    let [first, second, third, fourth, fifth, sixth] = arguments.map(core::hint::black_box);
    let stack = stack_pointer(ctx);
    let record = match told.order() {
        order::BLOCKS => {
            let (len, stack) = gcm::begun(sixth, third)?;
            Record { input: first, output: second, len, key: sixth, counter: fifth, stack, target }
        }
        order::STATE => {
            told.count()?;
            Record { input: fourth, output: sixth, len: fifth, key: first, counter: second, stack, target }
        }
        _ => {
            told.count()?;
            Record { input: first, output: second, len: third, key: fourth, counter: fifth, stack, target }
        }
    };
    if record.len < 2 || record.len > MAX_SEALED as u64 {
        return None;
    }
    if let Some(active) = AEAD_ACTIVE.get_ptr_mut(0) {
        // SAFETY: the array slot is valid for this run; it only ever becomes 1.
        unsafe { *active = 1 };
    }
    if told.reads() { open(&record) } else { seal(&record) }
}

/// Delivers a record to be encrypted, or keeps it until its connection is known.
#[inline(always)]
fn seal(record: &Record) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    let key = key(record.key, tgid)?;
    // SAFETY: a shared read of a map value.
    let bound = unsafe { AEAD_BOUND.get(&key) };
    if read::<u8>(record.input + record.len - 1)? != APPLICATION_DATA || !is_first(record.counter)? {
        return None;
    }
    match bound {
        Some(bound) => deliver(bound, direction::WRITE, record.input, record.len as u32, record.target),
        None => keep(thread, key, record),
    }
}

/// Whether this thread was not here with the record of this counter block before: while the scope of probes
/// changes, a function may have two.
#[inline(always)]
pub(super) fn is_first(counter: u64) -> Option<bool> {
    let thread = bpf_get_current_pid_tgid();
    let nonce: [u64; 2] = read(counter)?;
    // SAFETY: a shared read of a map value that only this thread writes.
    if unsafe { AEAD_LAST.get(&thread) } == Some(&nonce) {
        return Some(false);
    }
    AEAD_LAST.insert(&thread, &nonce, 0).ok()?;
    Some(true)
}

/// Notes a record to be decrypted whose connection is known, or known by the record's first bytes.
#[inline(always)]
fn open(record: &Record) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    let key = key(record.key, tgid)?;
    let (output, stack, target) = (record.output, record.stack, record.target);
    let len = record.len as u32;
    // SAFETY: a shared read of a map value.
    if let Some(bound) = unsafe { AEAD_BOUND.get(&key) } {
        let _ = AEAD_OPENING.insert(&thread, &Opening { bound: *bound, output, stack, target, len }, 0);
        return None;
    }
    let arrived: [u8; 16] = read(record.input)?;
    // SAFETY: as above.
    let bound = unsafe { AEAD_ARRIVED.get(&arrived) }?;
    if bound.tgid == tgid {
        let _ = AEAD_BOUND.insert(&key, bound, 0);
        let _ = AEAD_OPENING.insert(&thread, &Opening { bound: *bound, output, stack, target, len }, 0);
    }
    let _ = AEAD_ARRIVED.remove(&arrived);
    None
}

/// Delivers the plaintext of a record of `len` bytes with its inner type.
#[inline(always)]
pub(super) fn deliver(bound: &AeadBound, direction: u32, buffer: u64, len: u32, target: u32) -> Option<()> {
    let call = Call { object: bound.object, buffer, count: 0, stack: 0, direction, target };
    tls::deliver(&call, len - 1, bound.tgid, bound.random, handle::RANDOM)
}

/// The connection of a key that is already bound.
#[inline(always)]
pub(super) fn bound(address: u64) -> Option<AeadBound> {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: a shared read of a map value.
    unsafe { AEAD_BOUND.get(&key(address, tgid)?) }.copied()
}

/// Keeps a record until its ciphertext is known.
#[inline(always)]
fn keep(thread: u64, key: AeadKey, record: &Record) -> Option<()> {
    let room = AEAD_ROOM.get_ptr_mut(0)?;
    let len = record.len as usize - 1;
    let take = core::hint::black_box(if len < MAX_CHUNK { len } else { MAX_CHUNK });
    // SAFETY: the per-CPU slot is valid for this run. Where kernels may be preempted, another thread's record
    // may come in between: it changes the key first, and then this one is lost, never mixed with it.
    unsafe {
        write_volatile(addr_of_mut!((*room).key), key);
        (*room).task = offsets::current_task();
        (*room).output = record.output;
        (*room).stack = record.stack;
        (*room).target = record.target;
        (*room).len = take as u32;
        bpf_probe_read_user_buf(record.input as *const u8, (*room).data.get_mut(..take)?).ok()?;
        AEAD_SEALING.insert(&thread, &*room, 0).ok()?;
        let after = read_volatile(addr_of!((*room).key));
        if after.address != key.address || after.mark != key.mark {
            let _ = AEAD_SEALING.remove(&thread);
            emit::produced(kind::TLS);
            emit::lost(kind::TLS, cause::TABLE_FULL);
        }
    }
    None
}

#[inline(always)]
fn returned(ctx: &ProbeContext) -> Option<()> {
    let stack = stack_pointer(ctx);
    let own = |entered: u64| stack > entered && stack - entered <= MAX_FRAME;
    if Told::of(ctx).reads() { opened(own) } else { sealed(own) }
}

/// A record was encrypted, if it is this thread's `own`: its ciphertext is known now.
#[inline(always)]
pub(super) fn sealed(own: impl Fn(u64) -> bool) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a shared read of a map value that only this thread writes.
    let sealed = unsafe { AEAD_SEALING.get(&thread) }?;
    if own(sealed.stack)
        && let Some(ciphertext) = read::<[u8; 16]>(sealed.output)
        && AEAD_SEALED.insert(&ciphertext, sealed, 0).is_err()
    {
        emit::produced(kind::TLS);
        emit::lost(kind::TLS, cause::TABLE_FULL);
    }
    let _ = AEAD_SEALING.remove(&thread);
    Some(())
}

/// A record was decrypted, if it is this thread's `own`.
#[inline(always)]
pub(super) fn opened(own: impl Fn(u64) -> bool) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a shared read of a map value that only this thread writes.
    let opening = *unsafe { AEAD_OPENING.get(&thread) }?;
    let _ = AEAD_OPENING.remove(&thread);
    let Opening { bound, output, stack, target, len } = opening;
    if !own(stack) || read::<u8>(output + u64::from(len) - 1)? != APPLICATION_DATA {
        return None;
    }
    deliver(&bound, direction::READ, output, len, target)
}
