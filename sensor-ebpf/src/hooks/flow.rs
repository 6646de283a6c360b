//! Life of a TCP flow: local address when established, bytes when closed.
//!
//! Hook: `sock_ops` at the cgroup root (since 4.13; state callbacks 4.16). It may run in softirq
//! context, so it never says who: that is in the socket since connect. Missed: flows that were open
//! before the sensor started have no close callback; their end is seen as their process' end.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, bpf_sock,
    },
    macros::sock_ops,
    programs::SockOpsContext,
};
use sensor_common::{
    flow::Close,
    handshake::state,
    kind,
    tls::Handle,
};

use super::{
    connect::{address4, address6},
    socket,
};
use crate::{
    emit::{self, Urgency},
    maps::CONNECTIONS,
};

const CONTINUE: u32 = 1;
const AF_INET: u32 = 2;
const TCP_CLOSE: u32 = 7;

#[sock_ops]
fn kw_sockops(ctx: SockOpsContext) -> u32 {
    let op = ctx.op();
    if op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB {
        established(&ctx);
    } else if op == BPF_SOCK_OPS_STATE_CB && ctx.arg(1) == TCP_CLOSE {
        closed(&ctx);
    }
    CONTINUE
}

#[inline(always)]
fn sk(ctx: &SockOpsContext) -> *mut bpf_sock {
    // SAFETY: the context is valid for the run of the program.
    unsafe { (*ctx.ops).__bindgen_anon_2.sk }
}

#[inline(always)]
fn established(ctx: &SockOpsContext) {
    let Some(flow) = socket::flow(sk(ctx)) else { return };
    let port = ctx.local_port() as u16;
    // Each word is read by itself and before any branch: the verifier follows no computed offset here.
    // SAFETY: word reads of a valid context.
    let (family, ip4, ip6) = unsafe {
        let ops = ctx.ops;
        let ip6 = [
            read_volatile(addr_of!((*ops).local_ip6[0])),
            read_volatile(addr_of!((*ops).local_ip6[1])),
            read_volatile(addr_of!((*ops).local_ip6[2])),
            read_volatile(addr_of!((*ops).local_ip6[3])),
        ];
        (read_volatile(addr_of!((*ops).family)), read_volatile(addr_of!((*ops).local_ip4)), ip6)
    };
    flow.local = if family == AF_INET { address4(ip4, port) } else { address6(ip6, port) };
    // Failure only means that the end of this flow is not reported.
    let _ = ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32);
}

#[inline(always)]
fn closed(ctx: &SockOpsContext) {
    let Some(flow) = socket::flow(sk(ctx)) else { return };
    if flow.random != [0; 16] {
        let _ = CONNECTIONS.remove(&Handle { bytes: flow.random });
    }
    if flow.state == state::NEW || flow.captured == 0 {
        return; // nothing of this flow was reported
    }
    // SAFETY: word reads of a valid context.
    let (acked, received) = unsafe { ((*ctx.ops).bytes_acked, (*ctx.ops).bytes_received) };
    if let Some(mut entry) = emit::reserve::<Close>(kind::CLOSE) {
        entry.write(Close {
            header: emit::header(kind::CLOSE, 0),
            flow: *flow,
            // The SYN takes one number of the sequence space (RFC 9293 3.4).
            bytes_sent: acked.saturating_sub(1),
            bytes_received: received,
        });
        emit::submit(entry, Urgency::Tick);
    }
}
