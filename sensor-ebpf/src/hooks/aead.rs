//! Plaintext at the AEAD layer, for TLS libraries without recognisable functions (rustls).
//!
//! Hook: uprobes on the entry of the encrypting and decrypting functions of AES-GCM and on the returns of their
//! callers (x86-64); `gcm` tells where a record begins and ends that is worked on in pieces, `poly` reads
//! ChaCha20-Poly1305. A call is a TLS record when its shape says so and the wire agrees (`wire`): the first record
//! of a key is kept until the egress hook sees a record that begins with the same 16 bytes of ciphertext and has the
//! length that these contents take; that
//! binds the key to the socket. The answers' key is bound the other way round: 16 bytes that arrived on a
//! bound socket are then decrypted. So other uses of the cipher are never
//! told. A key is named by its address and what it is made of: an address that is used again has other
//! contents. A record of a library whose functions are probed in the same program (`tls`) is left to it.
//!
//! TLS 1.3 ends the plaintext with its type (RFC 8446 5.2). TLS 1.2 authenticates the type beside it (RFC 5246
//! 6.2.3.3): where that is not seen, the key is bound by the Finished message, the first that it protects, or by an
//! arriving record, and later records are data when they can be nothing else; the others make a gap. Missed: first
//! records that do not begin in the first records of a packet, and TLS 1.2 connections that were open before the
//! probes, where the type is not seen.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, bpf_probe_read_user_buf},
    macros::uprobe,
    programs::ProbeContext,
};
use sensor_common::{
    cause, kind,
    tls::{
        AeadBound, AeadKey, Call, MAX_CHUNK, MAX_SEALED, Opening, content, direction, form, handle, order,
    },
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
const APPLICATION_DATA: u8 = content::DATA as u8;
/// Length of a Finished message of TLS 1.2, and its first bytes, which are its type and the length of the rest (RFC
/// 5246 7.4, 7.4.9).
const FINISHED_LEN: u64 = 16;
const FINISHED: u32 = u32::from_le_bytes([20, 0, 0, 12]);
/// Length of an alert, and the highest first byte, its level (RFC 5246 7.2); a change of the cipher is shorter and 1.
const ALERT_LEN: u64 = 2;
const ALERT_LEVELS: u32 = 2;
/// Header of a handshake message, and the highest type in TLS 1.2.
const MESSAGE_HEADER: u64 = 4;
const MESSAGES: u32 = 24;
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

/// Mixes two words to one, not to be turned back: half of what goes in is lost.
#[inline(always)]
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mixed = (a ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        ^ b.wrapping_mul(0x94d0_49bb_1331_11eb).rotate_left(29);
    (mixed ^ mixed >> 31).wrapping_mul(0x9e6c_63d0_676a_9a99)
}

/// Names the key schedule at `address`.
#[inline(always)]
fn key(address: u64) -> Option<AeadKey> {
    let [a, b]: [u64; 2] = read(address)?;
    Some(AeadKey { address, mark: mix(a, b) ^ (bpf_get_current_pid_tgid() >> 32) })
}

/// A record that is about to be encrypted or decrypted.
pub(super) struct Record {
    pub(super) input: u64,
    pub(super) output: u64,
    /// Plaintext bytes, with the inner type if there is one.
    pub(super) len: u64,
    pub(super) key: AeadKey,
    /// Address of 16 bytes with the record's nonce.
    pub(super) counter: u64,
    /// By what its end is recognised.
    pub(super) stack: u64,
    pub(super) target: u32,
    /// One of [`form`], if what is authenticated beside it was seen.
    pub(super) form: Option<u16>,
    /// One of [`content`].
    pub(super) content: u16,
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
    let mut stack = stack_pointer(ctx);
    let (mut form, mut content) = (None, content::UNKNOWN);
    let (input, output, len, named, counter) = match told.order() {
        order::BLOCKS => {
            let begun = gcm::begun(sixth, third)?;
            (stack, form, content) = (begun.began, Some(begun.form), begun.content);
            (first, second, u64::from(begun.len), sixth, fifth)
        }
        order::STATE => {
            told.count()?;
            (fourth, sixth, fifth, first, second)
        }
        _ => {
            told.count()?;
            (first, second, third, fourth, fifth)
        }
    };
    let key = key(named)?;
    follow(&Record { input, output, len, key, counter, stack, target, form, content }, told.reads())
}

/// Takes a record that is decrypted if the function `opens`.
#[inline(always)]
pub(super) fn follow(record: &Record, opens: bool) -> Option<()> {
    if record.len == 0 || record.len > MAX_SEALED as u64 {
        return None;
    }
    if let Some(active) = AEAD_ACTIVE.get_ptr_mut(0) {
        // SAFETY: the array slot is valid for this run; it only ever becomes 1.
        unsafe { *active = 1 };
    }
    if opens { open(record) } else { seal(record) }
}

/// Delivers a record to be encrypted, or keeps it until its connection is known.
#[inline(always)]
fn seal(record: &Record) -> Option<()> {
    // SAFETY: a shared read of a map value.
    let Some(bound) = (unsafe { AEAD_BOUND.get(&record.key) }) else {
        let (form, content) = begins(record)?;
        return if is_first(record.counter)? { keep(record, form, content) } else { None };
    };
    // A thread's record is looked at once, whatever it is.
    if !is_first(record.counter)? {
        return None;
    }
    deliver(bound, record.content, direction::WRITE, record.input, record.len as u32, record.target)
}

/// Form and content type of what may be the first record of a TLS connection's key.
#[inline(always)]
fn begins(record: &Record) -> Option<(u16, u16)> {
    let finished = record.len == FINISHED_LEN && read::<u32>(record.input)? == FINISHED;
    match record.form {
        Some(form::INNER) => {}
        Some(form) => return Some((form, record.content)),
        None if finished => return Some((form::EXPLICIT, content::HANDSHAKE)),
        None => {}
    }
    let data = record.len > 1 && read::<u8>(record.input + record.len - 1)? == APPLICATION_DATA;
    data.then_some((form::INNER, content::DATA))
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
    // SAFETY: a shared read of a map value.
    let bound = match unsafe { AEAD_BOUND.get(&record.key) } {
        Some(bound) => AeadBound { content: arrived_as(record, bound), ..*bound },
        None => {
            let arrived: [u8; 16] = read(record.input)?;
            // SAFETY: as above.
            let found = *unsafe { AEAD_ARRIVED.get(&arrived) }?;
            if found.tgid != (thread >> 32) as u32 || record.form.is_some_and(|form| form != found.form) {
                return None;
            }
            let _ = AEAD_BOUND.insert(&record.key, &found, 0);
            found
        }
    };
    let (output, stack, target) = (record.output, record.stack, record.target);
    let _ =
        AEAD_OPENING.insert(&thread, &Opening { bound, output, stack, target, len: record.len as u32 }, 0);
    None
}

/// Content type of a record of a connection that is known: as it was seen here, else on the wire. While the scope of
/// probes changes, a function may have two: what the first one bound is known to the second.
#[inline(always)]
fn arrived_as(record: &Record, bound: &AeadBound) -> u16 {
    if record.content != content::UNKNOWN || bound.form != form::EXPLICIT {
        return record.content;
    }
    let Some(first) = read::<[u8; 16]>(record.input) else { return content::UNKNOWN };
    // SAFETY: a shared read of a map value.
    match unsafe { AEAD_ARRIVED.get(&first) } {
        Some(arrived) if arrived.random.bytes == bound.random.bytes => arrived.content,
        _ => content::UNKNOWN,
    }
}

/// Delivers the plaintext of a record of `len` bytes, with its inner type if there is one, when it is application data.
#[inline(always)]
pub(super) fn deliver(
    bound: &AeadBound,
    content: u16,
    direction: u32,
    buffer: u64,
    len: u32,
    target: u32,
) -> Option<()> {
    let total = if bound.form == form::INNER {
        let total = len.checked_sub(1)?;
        if read::<u8>(buffer + u64::from(total))? != APPLICATION_DATA {
            return None;
        }
        total
    } else {
        match content {
            content::DATA => {}
            content::UNKNOWN if is_only_data(buffer, u64::from(len))? => {}
            content::UNKNOWN => return tls::skip(&bound.random, direction, len),
            _ => return None,
        }
        len
    };
    if total == 0 {
        return None;
    }
    let call = Call { object: bound.object, buffer, count: 0, stack: 0, direction, target };
    tls::deliver(&call, total, bound.tgid, bound.random, handle::RANDOM)
}

/// Whether a record of TLS 1.2 can be nothing but application data: no alert, no change of the cipher and no
/// handshake message.
#[inline(always)]
fn is_only_data(buffer: u64, len: u64) -> Option<bool> {
    if len < MESSAGE_HEADER {
        let first = u32::from(read::<u8>(buffer)?);
        return Some(len > ALERT_LEN || first == 0 || first > ALERT_LEVELS);
    }
    let header = u32::from_be(read::<u32>(buffer)?);
    Some(header >> 24 > MESSAGES || u64::from(header & 0xff_ffff) != len - MESSAGE_HEADER)
}

/// The connection of a key schedule that is already bound.
#[inline(always)]
pub(super) fn bound(address: u64) -> Option<AeadBound> {
    // SAFETY: a shared read of a map value.
    unsafe { AEAD_BOUND.get(&key(address)?) }.copied()
}

/// Keeps a record until its ciphertext is known.
#[inline(always)]
fn keep(record: &Record, form: u16, content: u16) -> Option<()> {
    let (thread, key) = (bpf_get_current_pid_tgid(), record.key);
    let room = AEAD_ROOM.get_ptr_mut(0)?;
    let len = if form == form::INNER { record.len as usize - 1 } else { record.len as usize };
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
        (*room).form = form;
        (*room).content = content;
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
    // A function that does the whole record returns where it was entered.
    let own = |entered: u64| stack >= entered && stack - entered <= MAX_FRAME;
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
    if !own(stack) {
        return None;
    }
    deliver(&bound, bound.content, direction::READ, output, len, target)
}
