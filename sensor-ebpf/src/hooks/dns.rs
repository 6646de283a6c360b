//! Which name an address was asked by.
//!
//! Hook: `cgroup_skb` ingress at the cgroup root (since 4.10), UDP from port 53 only; every other
//! packet returns after two header bytes. The answer belongs to the cgroup of the receiving socket.
//! Missed: DNS over TCP, TLS or HTTPS, answers that a local cache gives over a Unix socket, and packets
//! with IPv6 extension headers.

use aya_ebpf::{
    helpers::generated::{bpf_get_socket_cookie, bpf_skb_cgroup_id},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use sensor_common::{
    cause,
    connect::Flow,
    dns::{Answer, MAX_MESSAGE, SMALL_MESSAGE},
    kind,
};

use super::{
    cleartext,
    packet::{self, TCP, UDP},
    wire,
};
use crate::{
    emit::{self, Event, Urgency},
    flows,
};

const PASS: i32 = 1;
const UDP_HEADER: usize = 8;
const DNS_HEADER: usize = 12;
const DNS_PORT: u16 = 53;

#[cgroup_skb]
fn kw_ingress(ctx: SkBuffContext) -> i32 {
    let _ = look(&ctx);
    PASS
}

#[inline(always)]
fn look(ctx: &SkBuffContext) -> Option<()> {
    let transport = packet::transport(ctx)?;
    if transport.protocol == TCP {
        cleartext::received(ctx, transport.offset);
        return wire::received(ctx, transport.offset);
    }
    if transport.protocol != UDP {
        return None;
    }
    let source: u16 = ctx.load(transport.offset).ok()?;
    if u16::from_be(source) != DNS_PORT {
        return None;
    }
    let offset = transport.offset + UDP_HEADER;
    let len = (ctx.len() as usize).checked_sub(offset)?;
    if len < DNS_HEADER {
        return None;
    }
    if len <= SMALL_MESSAGE {
        send::<SMALL_MESSAGE>(ctx, offset, len)
    } else {
        send::<MAX_MESSAGE>(ctx, offset, len)
    }
}

#[inline(always)]
fn send<const N: usize>(ctx: &SkBuffContext, offset: usize, len: usize) -> Option<()> {
    let take = if len < N { len } else { N };
    // SAFETY: the context is valid for the run of the program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    let asker = flows::find(cookie);
    let mut entry = emit::reserve::<Event<Answer, N>>(kind::DNS)?;
    let event = entry.as_mut_ptr();
    // SAFETY: `event` is memory of the reserved entry with room for N bytes, filled before submit.
    let copied = unsafe {
        (*event).fixed.header = emit::header(kind::DNS, take as u32);
        match asker {
            Some(entry) => entry.copy_to(core::ptr::addr_of_mut!((*event).fixed.flow)),
            None => core::ptr::write_bytes(
                core::ptr::addr_of_mut!((*event).fixed.flow).cast::<u8>(),
                0,
                size_of::<Flow>(),
            ),
        }
        (*event).fixed.cgroup_id = bpf_skb_cgroup_id(ctx.skb.skb);
        (*event).fixed.message_len = len as u64;
        packet::load(ctx, offset, (*event).bytes.as_mut_ptr(), take, N)
    };
    if copied.is_none() {
        entry.discard(0);
        emit::lost(kind::DNS, cause::READ_FAULT);
        return None;
    }
    let held = asker.is_none_or(flows::Entry::is_own);
    emit::submit_if(entry, held, kind::DNS, Urgency::Now).then_some(())
}
