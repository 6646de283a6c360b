//! End of a TCP flow, with its bytes.
//!
//! Hook: raw tracepoint `tcp_destroy_sock` (since 4.16), once for each socket. `sock_ops` state callbacks
//! would be called twelve times for a loopback connection and only for sockets that connected under the
//! sensor's eyes; this one costs a tenth and sees sockets that are older than the sensor, too. It may run
//! in softirq context, so it never says who: that was kept at connect. Missed: the end of UDP flows.

use core::ptr::addr_of_mut;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{flow::Close, kind, tls::Handle};

use crate::{
    emit::{self, Urgency},
    flows,
    maps::CONNECTIONS,
    offsets::Kernel,
};

// match-proto: trace_tcp_destroy_sock(struct sock *sk)
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
fn kw_destroy(ctx: RawTracePointContext) -> i32 {
    let socket = Kernel::from_argument::<u8>(ctx.arg(0));
    let cookie = socket.socket_cookie();
    if cookie == 0 {
        return 0; // nobody ever asked for this socket's name
    }
    let Some(entry) = flows::find(cookie) else { return 0 };
    let flow = entry.flow();
    if flow.random != [0; 16] {
        let _ = CONNECTIONS.remove(&Handle { bytes: flow.random });
    }
    if flow.captured != 0
        && let Some(mut room) = emit::reserve::<Close>(kind::CLOSE)
    {
        let (bytes_sent, bytes_received) = socket.tcp_bytes();
        let event = room.as_mut_ptr();
        // SAFETY: `event` is memory of the reserved entry, filled before submit.
        unsafe {
            (*event).header = emit::header(kind::CLOSE, 0);
            entry.copy_to(addr_of_mut!((*event).flow));
            (*event).bytes_sent = bytes_sent;
            (*event).bytes_received = bytes_received;
        }
        emit::submit_if(room, entry.is_own(), kind::CLOSE, Urgency::Tick);
    }
    entry.clear();
    0
}
