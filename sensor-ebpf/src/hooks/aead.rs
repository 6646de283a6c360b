//! Plaintext at the AEAD layer, for TLS libraries without recognisable functions (rustls).
//!
//! Hook: uprobes on the entry of the encrypting and decrypting functions of AES-GCM and on the returns of their
//! callers (x86-64); `gcm` tells where a record begins and ends that is worked on in pieces. A call is a TLS 1.3 record when the last byte is its inner type (RFC 8446 5.2) and the
//! wire agrees: the first record of a key is kept until the egress hook sees a record that begins with
//! the same 16 bytes of ciphertext; that binds the key to the socket. The answers' key is bound the other way
//! round: 16 bytes that arrived on a bound socket are then decrypted. So other uses of the cipher are never
//! told. A key is named by its address and what it is made of: an address that is used again has other
//! contents. Missed: TLS 1.2 (no inner type), other ciphers, and first records that do not begin in the
//! first records of a packet.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{
        bpf_get_current_pid_tgid, bpf_probe_read_kernel_buf, bpf_probe_read_user, bpf_probe_read_user_buf,
        generated::{bpf_get_attach_cookie, bpf_get_socket_cookie, bpf_skb_load_bytes},
    },
    macros::uprobe,
    programs::{ProbeContext, SkBuffContext},
};
use sensor_common::{
    cause, kind,
    tls::{
        AeadBound, AeadKey, Call, Data, Handle, MAX_CHUNK, MAX_SEALED, Opening, SIZES, Sealed, cookie,
        direction, handle, order, verdict,
    },
};

use super::{
    gcm, packet,
    tls::{self, Event, stack_pointer},
};
use crate::{
    emit::{self, Urgency},
    maps::{
        AEAD_ACTIVE, AEAD_ARRIVED, AEAD_BOUND, AEAD_FLOWS, AEAD_LAST, AEAD_OPENING, AEAD_ROOM, AEAD_SEALED,
        AEAD_SEALING, HITS, VERDICTS,
    },
    offsets, scope,
};

/// Inner type and outer type of application data (RFC 8446 5.1).
pub(super) const APPLICATION_DATA: u8 = 0x17;
/// Records looked at in one packet.
const MAX_RECORDS: usize = 6;
/// Header of a record.
const RECORD_HEADER: usize = 5;
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

/// Counts a hit of a probe.
#[inline(always)]
pub(super) fn hit(target: u32) -> Option<()> {
    let hits = HITS.get_ptr_mut(target)?;
    // SAFETY: the per-CPU slot is valid for this run.
    unsafe { (*hits).total += 1 };
    Some(())
}

#[inline(always)]
fn enter(ctx: &ProbeContext) -> Option<()> {
    if !scope::has_current() {
        return None;
    }
    // SAFETY: a probe context is valid for the run of the program.
    let told = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let target = (told & cookie::TARGET) as u32;
    // All are read whatever the order: the verifier refuses an address in the context that is computed.
    let arguments: [u64; 6] = [ctx.arg(0)?, ctx.arg(1)?, ctx.arg(2)?, ctx.arg(3)?, ctx.arg(4)?, ctx.arg(5)?];
    let [first, second, third, fourth, fifth, sixth] = arguments.map(core::hint::black_box);
    let stack = stack_pointer(ctx);
    let record = match told >> cookie::ORDER_SHIFT & cookie::ORDER_MASK {
        order::BLOCKS => {
            let (len, stack) = gcm::begun(sixth, third)?;
            Record { input: first, output: second, len, key: sixth, counter: fifth, stack, target }
        }
        order::STATE => {
            hit(target)?;
            Record { input: fourth, output: sixth, len: fifth, key: first, counter: second, stack, target }
        }
        _ => {
            hit(target)?;
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
    if told & cookie::READ != 0 { open(&record) } else { seal(&record) }
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
    // SAFETY: the per-CPU slot is valid for this run, and a program is not interrupted by itself.
    unsafe {
        (*room).task = offsets::current_task();
        (*room).key = key;
        (*room).output = record.output;
        (*room).stack = record.stack;
        (*room).target = record.target;
        (*room).len = take as u32;
        bpf_probe_read_user_buf(record.input as *const u8, (*room).data.get_mut(..take)?).ok()?;
        AEAD_SEALING.insert(&thread, &*room, 0).ok()
    }
}

#[inline(always)]
fn returned(ctx: &ProbeContext) -> Option<()> {
    // SAFETY: a probe context is valid for the run of the program.
    let told = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let stack = stack_pointer(ctx);
    let own = |entered: u64| stack > entered && stack - entered <= MAX_FRAME;
    if told & cookie::READ == 0 { sealed(own) } else { opened(own) }
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

/// The beginning of a record in a packet: type, length, and 16 bytes of ciphertext.
#[inline(always)]
fn record(ctx: &SkBuffContext, at: usize, end: usize) -> Option<(u8, usize, [u8; 16])> {
    let mut bytes = [0u8; RECORD_HEADER + 16];
    if at + bytes.len() > end {
        return None;
    }
    // SAFETY: the helper checks the packet; the buffer has the length that is passed.
    let error = unsafe {
        bpf_skb_load_bytes(
            ctx.skb.skb.cast(),
            at as u32,
            bytes.as_mut_ptr().cast(),
            (RECORD_HEADER + 16) as u32,
        )
    };
    if error != 0 || bytes[1] != 3 {
        return None;
    }
    let mut ciphertext = [0; 16];
    ciphertext.copy_from_slice(&bytes[RECORD_HEADER..]);
    Some((bytes[0], usize::from(bytes[3]) << 8 | usize::from(bytes[4]), ciphertext))
}

#[inline(always)]
fn active() -> bool {
    AEAD_ACTIVE.get(0) == Some(&1)
}

/// Looks among records that leave for those that a probe has seen made.
#[inline(never)]
pub(super) fn sent(ctx: &SkBuffContext, cookie: u64, random: Handle, offset: usize, len: usize) -> u32 {
    if !active() {
        return 0;
    }
    let (mut at, end) = (offset, offset + len);
    for _ in 0..MAX_RECORDS {
        let Some((kind, length, ciphertext)) = record(ctx, at, end) else { return 0 };
        // SAFETY: a shared read of a map value; a replaced entry has other ciphertext, so a torn copy is no
        // text of this connection only if 256 other records came meanwhile.
        if kind == APPLICATION_DATA
            && let Some(sealed) = unsafe { AEAD_SEALED.get(&ciphertext) }
        {
            bind(cookie, random, sealed);
            let _ = AEAD_SEALED.remove(&ciphertext);
        }
        at += RECORD_HEADER + length;
    }
    0
}

#[inline(always)]
fn bind(cookie: u64, random: Handle, sealed: &Sealed) -> Option<()> {
    let bound = AeadBound { random, object: sealed.key.address, tgid: sealed.task.process.tgid, pad: 0 };
    let _ = AEAD_BOUND.insert(&sealed.key, &bound, 0);
    let _ = AEAD_FLOWS.insert(&cookie, &bound, 0);
    // SAFETY: a shared read of a map value.
    if unsafe { VERDICTS.get(&random) } == Some(&verdict::OTHER) {
        return None;
    }
    let call = Call {
        object: bound.object,
        buffer: 0,
        count: 0,
        stack: 0,
        direction: direction::WRITE,
        target: sealed.target,
    };
    let mut first = [0; tls::PEEK];
    first.copy_from_slice(sealed.data.first_chunk::<{ tls::PEEK }>()?);
    let (cookie, position) = tls::client_side(&random, &call, bound.tgid, sealed.len, &first)?;
    let len = sealed.len as usize;
    if len <= SIZES[1] {
        send::<{ SIZES[1] }>(sealed, random, cookie, position)
    } else {
        send::<MAX_CHUNK>(sealed, random, cookie, position)
    }
}

#[inline(always)]
fn send<const N: usize>(sealed: &Sealed, random: Handle, cookie: u64, position: u64) -> Option<()> {
    let len = sealed.len as usize;
    let take = core::hint::black_box(if len < N { len } else { N });
    let mut entry = emit::reserve::<Event<N>>(kind::TLS)?;
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is memory of the reserved entry, filled before submit; `take` is at most N.
    let copied = unsafe {
        (*event).data = Data {
            header: emit::header(kind::TLS, take as u32),
            task: sealed.task,
            connection: random,
            object: sealed.key.address,
            cookie,
            handle: handle::RANDOM,
            direction: direction::WRITE,
            target: sealed.target,
            pad: 0,
            position,
        };
        match (*event).plaintext.get_mut(..take) {
            Some(room) => bpf_probe_read_kernel_buf(sealed.data.as_ptr(), room).is_ok(),
            None => false,
        }
    };
    if !copied {
        entry.discard(0);
        emit::lost(kind::TLS, cause::READ_FAULT);
        return None;
    }
    emit::submit(entry, Urgency::Tick);
    Some(())
}

/// Notes records that arrive on a bound socket, so that whoever decrypts them is known.
#[inline(never)]
pub(super) fn received(ctx: &SkBuffContext, transport: usize) -> Option<()> {
    if !active() {
        return None;
    }
    // SAFETY: the context is valid for the run of the program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    // SAFETY: a shared read of a map value.
    let bound = *unsafe { AEAD_FLOWS.get(&cookie) }?;
    let payload = packet::tcp_payload(ctx, transport)?;
    let (mut at, end) = (payload.offset, payload.offset + payload.len);
    for _ in 0..MAX_RECORDS {
        let (kind, length, ciphertext) = record(ctx, at, end)?;
        if kind == APPLICATION_DATA {
            let _ = AEAD_ARRIVED.insert(&ciphertext, &bound, 0);
        }
        at += RECORD_HEADER + length;
    }
    Some(())
}
