//! The wire's word on records below TLS libraries: which socket sends what a probe of `aead` saw encrypted, and
//! which records arrive there.
//!
//! Called by the packet hooks, once a probe of `aead` was hit, for TLS flows past their handshake.

use aya_ebpf::{
    helpers::{bpf_probe_read_kernel_buf, generated::bpf_get_socket_cookie},
    programs::SkBuffContext,
};
use sensor_common::{
    cause, kind,
    tls::{AeadBound, Call, Data, Handle, MAX_CHUNK, SIZES, Sealed, direction, handle, verdict},
};

use super::{aead::APPLICATION_DATA, packet, tls};
use crate::{
    emit::{self, Event, Urgency},
    maps::{AEAD_ACTIVE, AEAD_ARRIVED, AEAD_BOUND, AEAD_FLOWS, AEAD_SEALED, VERDICTS},
};

/// Records looked at in one packet.
const MAX_RECORDS: usize = 6;
/// Header of a record.
const RECORD_HEADER: usize = 5;

/// The beginning of a record in a packet: type, length, and 16 bytes of ciphertext.
#[inline(always)]
fn record(ctx: &SkBuffContext, at: usize, end: usize) -> Option<(u8, usize, [u8; 16])> {
    if at + RECORD_HEADER + 16 > end {
        return None;
    }
    let bytes: [u8; RECORD_HEADER + 16] = ctx.load(at).ok()?;
    if bytes[1] != 3 {
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
    let mut entry = emit::reserve::<Event<Data, N>>(kind::TLS)?;
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is memory of the reserved entry, filled before submit; `take` is at most N.
    let copied = unsafe {
        (*event).fixed = Data {
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
        match (*event).bytes.get_mut(..take) {
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
