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
    tls::{
        AeadBound, Call, Data, Handle, MAX_CHUNK, SIZES, Sealed, TAG, content, direction, form, handle,
        verdict,
    },
};

use super::{packet, tls};
use crate::{
    emit::{self, Event, Urgency},
    maps::{AEAD_ACTIVE, AEAD_ARRIVED, AEAD_BOUND, AEAD_FLOWS, AEAD_SEALED, VERDICTS},
};

/// Records looked at in one packet.
const MAX_RECORDS: usize = 6;
/// Header of a record.
const RECORD_HEADER: usize = 5;

/// The beginning of a record in a packet.
struct Record {
    at: usize,
    /// Outer type, one of [`content`].
    content: u16,
    /// Bytes behind the header.
    length: usize,
    /// The first bytes behind the header.
    first: [u8; 16],
}

#[inline(always)]
fn record(ctx: &SkBuffContext, at: usize, end: usize) -> Option<Record> {
    if at + RECORD_HEADER + 16 > end {
        return None;
    }
    let bytes: [u8; RECORD_HEADER + 16] = ctx.load(at).ok()?;
    if bytes[1] != 3 {
        return None;
    }
    let mut first = [0; 16];
    first.copy_from_slice(&bytes[RECORD_HEADER..]);
    let length = usize::from(bytes[3]) << 8 | usize::from(bytes[4]);
    Some(Record { at, content: bytes[0].into(), length, first })
}

impl Record {
    /// Whether it may hold what `aead` tells: application data, or the Finished message of TLS 1.2.
    #[inline(always)]
    fn may_be_told(&self) -> bool {
        self.content == content::DATA || self.content == content::HANDSHAKE
    }

    /// The first 16 bytes of ciphertext, behind a nonce of TLS 1.2.
    #[inline(always)]
    fn behind_nonce(&self, ctx: &SkBuffContext, end: usize) -> Option<[u8; 16]> {
        let at = self.at + RECORD_HEADER + form::NONCE;
        if at + 16 > end {
            return None;
        }
        ctx.load(at).ok()
    }

    /// Whether it has the type and the length that the wire shows of a record.
    #[inline(always)]
    fn agrees(&self, sealed: &Sealed) -> bool {
        // All of it, also what is more than room for the plaintext.
        let around = match sealed.form {
            form::INNER => 1 + TAG,
            form::EXPLICIT => form::NONCE + TAG,
            _ => TAG,
        };
        sealed.content == self.content && self.length == sealed.len as usize + around
    }
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
        let Some(record) = record(ctx, at, end) else { return 0 };
        if record.may_be_told() {
            let mut ciphertext = record.first;
            // SAFETY: a shared read of a map value; a replaced entry has other ciphertext, so a torn copy is no
            // text of this connection only if 256 other records came meanwhile.
            let mut found = unsafe { AEAD_SEALED.get(&ciphertext) };
            if found.is_none()
                && let Some(behind) = record.behind_nonce(ctx, end)
            {
                ciphertext = behind;
                // SAFETY: as above.
                found = unsafe { AEAD_SEALED.get(&ciphertext) };
            }
            if let Some(sealed) = found {
                if record.agrees(sealed) {
                    bind(cookie, random, sealed);
                }
                let _ = AEAD_SEALED.remove(&ciphertext);
            }
        }
        at += RECORD_HEADER + record.length;
    }
    0
}

#[inline(always)]
fn bind(cookie: u64, random: Handle, sealed: &Sealed) -> Option<()> {
    let (object, tgid) = (sealed.key.address, sealed.task.process.tgid);
    let bound = AeadBound { random, object, tgid, form: sealed.form, content: content::UNKNOWN };
    let _ = AEAD_BOUND.insert(&sealed.key, &bound, 0);
    let _ = AEAD_FLOWS.insert(&cookie, &bound, 0);
    if sealed.content != content::DATA {
        return None;
    }
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
        let record = record(ctx, at, end)?;
        let ciphertext =
            if bound.form == form::EXPLICIT { record.behind_nonce(ctx, end) } else { Some(record.first) };
        if record.may_be_told()
            && let Some(ciphertext) = ciphertext
        {
            let _ = AEAD_ARRIVED.insert(&ciphertext, &AeadBound { content: record.content, ..bound }, 0);
        }
        at += RECORD_HEADER + record.length;
    }
    Some(())
}
