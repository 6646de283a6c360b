//! What a flow is for: the first payload it sends.
//!
//! Hook: `cgroup_skb` egress at the cgroup root (since 4.10). It sees the bytes that leave, whatever
//! library or system call sent them, before segmentation by the device: a ClientHello larger than one
//! segment usually comes in one piece. Packets without payload return after the headers; packets of a
//! flow that is done after one look-up of its socket cookie. The client random of a ClientHello goes
//! into a table by which the TLS hook finds the socket of a TLS object. A cleartext request is the beginning of
//! what `cleartext` reads. Missed: payload sent before the sensor started, and kernel TLS.

use core::ptr::addr_of_mut;

use aya_ebpf::{helpers::generated::bpf_get_socket_cookie, macros::cgroup_skb, programs::SkBuffContext};
use aya_log_ebpf::info;
use sensor_common::{
    cause,
    handshake::{
        self, CHUNK, MAX_CAPTURE, MAX_CHUNKS, MAX_PACKETS, QUIC_CHUNKS, QUIC_DATAGRAMS, SMALL, shape, state,
    },
    kind,
    tls::{Connection, Handle},
};

use super::{
    cleartext, http,
    packet::{self, Payload, TCP, UDP},
    wire,
};
use crate::{
    emit::{self, Event, Urgency},
    flows::{self, Entry},
    maps::{CONNECTIONS, MODEL_ADDRESSES},
    offsets,
};

const PASS: i32 = 1;
/// Bytes of a payload that tell what it is: a ClientHello up to the end of its random.
const PEEK: usize = 44;
/// Where the random starts: record header 5, handshake header 4, version 2 (RFC 8446 4.1.2, 5.1).
const RANDOM_AT: usize = 11;
const UDP_HEADER: usize = 8;

#[cgroup_skb]
fn kw_egress(ctx: SkBuffContext) -> i32 {
    let _ = look(&ctx);
    PASS
}

#[inline(always)]
fn look(ctx: &SkBuffContext) -> Option<()> {
    let transport = packet::transport(ctx)?;
    let payload = match transport.protocol {
        TCP => packet::tcp_payload(ctx, transport.offset)?,
        UDP => {
            let offset = transport.offset + UDP_HEADER;
            Payload { seq: 0, ack: 0, offset, len: (ctx.len() as usize).checked_sub(offset)? }
        }
        _ => return None,
    };
    // SAFETY: the context is valid for the run of the program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    let entry = flows::find(cookie)?;
    let flow = entry.flow();
    if flow.state == state::DONE && flow.random != [0; 16] && transport.protocol == TCP {
        wire::sent(ctx, cookie, Handle { bytes: flow.random }, payload.offset, payload.len);
        return None;
    }
    if flow.state == state::DONE || payload.len == 0 {
        return None;
    }
    if flow.local.port == 0 {
        flow.local = packet::source(ctx, transport)?;
    }
    let Payload { seq, offset, len, .. } = payload;
    if transport.protocol == UDP {
        return quic(ctx, entry, offset, len);
    }
    if flow.state == state::CLEAR {
        return cleartext::sent(ctx, entry, seq, offset, len);
    }
    tcp(ctx, entry, payload)
}

#[inline(always)]
fn peek(ctx: &SkBuffContext, offset: usize, len: usize) -> Option<[u8; PEEK]> {
    let mut bytes = [0u8; PEEK];
    let wanted = if len < PEEK { len } else { PEEK };
    // SAFETY: the array is that long.
    unsafe { packet::load(ctx, offset, bytes.as_mut_ptr(), wanted, PEEK) }?;
    Some(bytes)
}

/// The first datagrams of a QUIC client, until one does not begin with a long header: a ClientHello may need
/// several.
#[inline(always)]
fn quic(ctx: &SkBuffContext, entry: Entry, offset: usize, len: usize) -> Option<()> {
    let flow = entry.flow();
    flow.packets = flow.packets.wrapping_add(1);
    let first = peek(ctx, offset, len)?;
    // Long header with the fixed bit and a version (RFC 9000 17.2).
    let version = u32::from_be_bytes([first[1], first[2], first[3], first[4]]);
    if first[0] & 0xc0 != 0xc0 || version == 0 || flow.packets >= QUIC_DATAGRAMS {
        flow.state = state::DONE;
    }
    if first[0] & 0xc0 != 0xc0 || version == 0 {
        return None;
    }
    // With segmentation offload several datagrams leave in one packet.
    let mut done = 0;
    for _ in 0..QUIC_CHUNKS {
        if done >= len {
            return Some(());
        }
        chunk(ctx, entry, shape::QUIC, flow.captured, offset + done, len - done)?;
        let take = if len - done < CHUNK { len - done } else { CHUNK };
        flow.captured = flow.captured.wrapping_add(take as u32);
        done += take;
    }
    if done < len {
        flow.state = state::DONE;
        emit::lost(kind::PAYLOAD, cause::OVER_LIMIT);
    }
    Some(())
}

#[inline(always)]
fn tcp(ctx: &SkBuffContext, entry: Entry, payload: Payload) -> Option<()> {
    let Payload { seq, offset, len, .. } = payload;
    let flow = entry.flow();
    flow.packets = flow.packets.wrapping_add(1);
    if flow.packets > MAX_PACKETS {
        flow.state = state::DONE;
        return None;
    }
    if flow.state == state::NEW || flow.state == state::TUNNEL {
        begin(ctx, entry, payload)?;
    }
    let shape = match flow.state {
        state::TLS => shape::TLS,
        state::TUNNEL => shape::HTTP,
        _ => return None,
    };
    let position = seq.wrapping_sub(flow.first_seq);
    if position < flow.captured {
        return None; // sent again
    }
    if position > flow.captured {
        // A part was never seen here: what follows cannot be put in place.
        flow.state = state::DONE;
        emit::lost(kind::PAYLOAD, cause::OVER_LIMIT);
        return None;
    }
    let room = MAX_CAPTURE.saturating_sub(flow.captured) as usize;
    let take = if len < room { len } else { room };
    let start = flow.captured;
    flow.captured = flow.captured.wrapping_add(take as u32);
    if flow.state != state::TUNNEL && flow.captured >= flow.wanted {
        flow.state = state::DONE;
    }
    for index in 0..MAX_CHUNKS {
        let done = index * CHUNK;
        if done >= take {
            break;
        }
        if chunk(ctx, entry, shape, start.wrapping_add(done as u32), offset + done, take - done).is_none() {
            flow.state = state::DONE;
            break;
        }
    }
    Some(())
}

/// Decides what a flow is from its first payload.
#[inline(always)]
fn begin(ctx: &SkBuffContext, entry: Entry, payload: Payload) -> Option<()> {
    let Payload { seq, ack, offset, len } = payload;
    let flow = entry.flow();
    let first = peek(ctx, offset, len)?;
    // Handshake record of TLS 1.x that holds a ClientHello (RFC 8446 5.1, 4).
    if first[0] == 0x16 && first[1] == 3 && first[5] == 1 {
        let record = u32::from(first[3]) << 8 | u32::from(first[4]);
        let message = 4 + (u32::from(first[6]) << 16 | u32::from(first[7]) << 8 | u32::from(first[8]));
        // Each further record that the message is split into adds its own header.
        let records = if record >= message || record < 64 { 1 } else { message / record + 1 };
        let wanted = message.saturating_add(records * 5);
        flow.first_seq = seq;
        flow.captured = 0;
        flow.wanted = if wanted < MAX_CAPTURE { wanted } else { MAX_CAPTURE };
        flow.state = state::TLS;
        if offsets::kernel_log() {
            info!(ctx, "client hello: socket cookie {}, {} of {} bytes", entry.cookie(), len, flow.wanted);
        }
        if len >= PEEK {
            name(entry, &first);
        }
        return Some(());
    }
    if flow.state == state::TUNNEL {
        return None; // the tunnel may still begin later
    }
    flow.first_seq = seq;
    let start = [first[0], first[1], first[2], first[3]];
    // HTTP/2 without TLS begins with a preface (RFC 9113 3.3, 3.4).
    let newer = start == *b"PRI ";
    if newer || http::is_method(start) {
        if start == *b"CONN" {
            flow.state = state::TUNNEL;
            flow.wanted = MAX_CAPTURE;
            return Some(());
        }
        flow.state = state::CLEAR;
        flow.answer_seq = ack;
        cleartext::begins(flow, newer || start == *b"POST");
        let head = if len < CHUNK { len } else { CHUNK };
        if chunk(ctx, entry, shape::HTTP, 0, offset, head).is_none() {
            flow.state = state::DONE;
        } else if len > head {
            cleartext::sent(ctx, entry, seq.wrapping_add(head as u32), offset + head, len - head);
        }
        return None;
    }
    flow.state = state::DONE;
    // SAFETY: a shared read of a map value.
    if unsafe { MODEL_ADDRESSES.get(&flow.remote.ip) }.is_some() {
        flow.captured = 1;
        chunk(ctx, entry, shape::OTHER, 0, offset, 0)?;
    }
    None
}

/// Names the connection of a ClientHello by its random. It stays that of the socket that sent it first: who sends it
/// later passes on what a client on this host has sent, and is no party to the connection.
#[inline(always)]
fn name(entry: Entry, first: &[u8; PEEK]) {
    let flow = entry.flow();
    let mut random = Handle { bytes: [0; 16] };
    random.bytes.copy_from_slice(&first[RANDOM_AT..RANDOM_AT + 16]);
    // SAFETY: a shared read of a map value.
    let sender = unsafe { CONNECTIONS.get(&random) }.map_or(0, |known| known.cookie);
    if sender != 0 && sender != entry.cookie() {
        return;
    }
    let (cookie, tgid) = (entry.cookie(), flow.task.process.tgid);
    let connection = Connection { cookie, object: 0, tgid, pad: 0, moved: [0; 2] };
    if CONNECTIONS.insert(&random, &connection, 0).is_err() {
        emit::lost(kind::PAYLOAD, cause::TABLE_FULL);
    }
    flow.random = random.bytes;
}

#[inline(always)]
fn chunk(
    ctx: &SkBuffContext,
    entry: Entry,
    shape: u32,
    position: u32,
    offset: usize,
    len: usize,
) -> Option<()> {
    if len <= SMALL {
        sized::<SMALL>(ctx, entry, shape, position, offset, len)
    } else {
        sized::<CHUNK>(ctx, entry, shape, position, offset, len)
    }
}

#[inline(always)]
fn sized<const N: usize>(
    ctx: &SkBuffContext,
    entry: Entry,
    shape: u32,
    position: u32,
    offset: usize,
    len: usize,
) -> Option<()> {
    let take = if len < N { len } else { N };
    let mut room = emit::reserve::<Event<handshake::Payload, N>>(kind::PAYLOAD)?;
    let event = room.as_mut_ptr();
    // SAFETY: `event` is memory of the reserved entry, filled before submit.
    let copied = unsafe {
        let fixed = addr_of_mut!((*event).fixed);
        (*fixed).header = emit::header(kind::PAYLOAD, take as u32);
        entry.copy_to(addr_of_mut!((*fixed).flow));
        (*fixed).shape = shape;
        (*fixed).offset = position;
        take == 0 || packet::load(ctx, offset, (*event).bytes.as_mut_ptr(), take, N).is_some()
    };
    if !copied {
        room.discard(0);
        emit::lost(kind::PAYLOAD, cause::READ_FAULT);
        return None;
    }
    emit::submit_if(room, entry.is_own(), kind::PAYLOAD, Urgency::Now).then_some(())
}
