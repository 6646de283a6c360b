//! Requests and answers of cleartext HTTP: Ollama, vLLM and gateways on the host or next to it.
//!
//! Hook: none of its own; the packet hooks (`cgroup_skb`, since 4.10) call it for connections whose first payload is a
//! request of HTTP/1, or the preface of HTTP/2 (prior knowledge, as gRPC has it). Packets hold what the socket sends and receives whatever program and library does it, on loopback too,
//! and only the socket that connected is followed, so that a call is seen once. User space puts packets into
//! order, and decides after the first request head whether a connection is read further. Missed: connections
//! older than the sensor, requests after a first one that went elsewhere, answers to a first request that is no POST
//! and comes faster than the decision, an upgrade to HTTP/2, and answers when arriving packets are not hooked.

use aya_ebpf::{helpers::generated::bpf_get_socket_cookie, programs::SkBuffContext};
use sensor_common::{
    cause,
    cleartext::{Data, MAX_CHUNKS, MAX_UNDECIDED, handle},
    connect::Flow,
    handshake::state,
    kind,
    tls::{MAX_CHUNK, SIZES, direction, verdict},
};

use super::packet;
use crate::{
    emit::{self, Event, Urgency},
    flows::{self, Entry},
    maps::{CLEAR_ACTIVE, VERDICTS},
};

/// A connection begins with a request; its answer is wanted at once if it `asks`.
#[inline(always)]
pub(super) fn begins(flow: &mut Flow, asks: bool) {
    flow.captured = 1;
    flow.asks = asks.into();
    if let Some(active) = CLEAR_ACTIVE.get_ptr_mut(0) {
        // SAFETY: an array slot is valid for the run of the program; it only ever becomes 1.
        unsafe { *active = 1 };
    }
}

/// Takes payload that leaves.
#[inline(always)]
pub(super) fn sent(ctx: &SkBuffContext, entry: Entry, seq: u32, offset: usize, len: usize) -> Option<()> {
    let position = seq.wrapping_sub(entry.flow().first_seq);
    if !is_wanted(entry, true, len) {
        return None;
    }
    copy(ctx, entry.cookie(), place(direction::WRITE, position), offset, len);
    Some(())
}

/// Takes payload that arrives.
#[inline(always)]
pub(super) fn received(ctx: &SkBuffContext, transport: usize) -> Option<()> {
    if CLEAR_ACTIVE.get(0) != Some(&1) {
        return None;
    }
    let payload = packet::tcp_payload(ctx, transport)?;
    // SAFETY: the context is valid for the run of the program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    let entry = flows::find(cookie)?;
    let flow = entry.flow();
    if flow.state != state::CLEAR || !is_wanted(entry, flow.asks == 1, payload.len) {
        return None;
    }
    let position = payload.seq.wrapping_sub(flow.answer_seq);
    copy(ctx, cookie, place(direction::READ, position), payload.offset, payload.len);
    Some(())
}

/// Whether the connection goes to a model endpoint, or may and is read (`undecided`) until that is known.
#[inline(always)]
fn is_wanted(entry: Entry, undecided: bool, len: usize) -> bool {
    let flow = entry.flow();
    // SAFETY: a shared read of a map value.
    match unsafe { VERDICTS.get(&handle(entry.cookie())) } {
        Some(&verdict::MODEL) => true,
        Some(&verdict::OTHER) => {
            flow.state = state::DONE;
            false
        }
        _ => {
            flow.captured = flow.captured.saturating_add(len as u32);
            if flow.captured > MAX_UNDECIDED {
                flow.state = state::DONE;
                emit::produced(kind::CLEARTEXT);
                emit::lost(kind::CLEARTEXT, cause::OVER_LIMIT);
            }
            undecided && flow.state == state::CLEAR
        }
    }
}

/// Direction and position in one argument: a function of a program has five.
#[inline(always)]
fn place(direction: u32, position: u32) -> u64 {
    u64::from(direction) << 32 | u64::from(position)
}

#[inline(never)]
fn copy(ctx: &SkBuffContext, cookie: u64, place: u64, offset: usize, len: usize) -> u32 {
    for index in 0..MAX_CHUNKS {
        let done = index * MAX_CHUNK;
        if done >= len {
            return 0;
        }
        let position = (place as u32).wrapping_add(done as u32);
        let part = Part { cookie, direction: (place >> 32) as u32, position, offset: offset + done };
        let left = len - done;
        let sent = if left <= SIZES[0] {
            part.send::<{ SIZES[0] }>(ctx, left)
        } else if left <= SIZES[1] {
            part.send::<{ SIZES[1] }>(ctx, left)
        } else if left <= SIZES[2] {
            part.send::<{ SIZES[2] }>(ctx, left)
        } else {
            part.send::<MAX_CHUNK>(ctx, left)
        };
        if sent.is_none() {
            return 0;
        }
    }
    if len > MAX_CHUNKS * MAX_CHUNK {
        emit::produced(kind::CLEARTEXT);
        emit::lost(kind::CLEARTEXT, cause::OVER_LIMIT);
    }
    0
}

struct Part {
    cookie: u64,
    direction: u32,
    position: u32,
    offset: usize,
}

impl Part {
    #[inline(always)]
    fn send<const N: usize>(&self, ctx: &SkBuffContext, left: usize) -> Option<()> {
        let take = if left < N { left } else { N };
        let mut entry = emit::reserve::<Event<Data, N>>(kind::CLEARTEXT)?;
        let event = entry.as_mut_ptr();
        // SAFETY: `event` is memory of the reserved entry with room for N bytes, filled before submit.
        let copied = unsafe {
            (*event).fixed = Data {
                header: emit::header(kind::CLEARTEXT, take as u32),
                cookie: self.cookie,
                direction: self.direction,
                position: self.position,
            };
            packet::load(ctx, self.offset, (*event).bytes.as_mut_ptr(), take, N)
        };
        if copied.is_none() {
            entry.discard(0);
            emit::lost(kind::CLEARTEXT, cause::READ_FAULT);
            return None;
        }
        emit::submit(entry, Urgency::Tick);
        Some(())
    }
}
