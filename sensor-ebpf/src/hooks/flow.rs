//! End of a TCP flow, with its bytes.
//!
//! Hook: raw tracepoint `tcp_destroy_sock` (since 4.16), once for each socket. `sock_ops` state callbacks
//! would be called twelve times for a loopback connection and only for sockets that connected under the
//! sensor's eyes; this one costs a tenth and sees sockets that are older than the sensor, too. It may run
//! in softirq context, so it never says who: that was kept at connect. Missed: the end of UDP flows.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{flow::Close, kind, tls::Handle};

use crate::{
    emit::{self, Urgency},
    maps::{CONNECTIONS, FLOWS},
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
    // SAFETY: a shared read of a map value; the socket is going, so nobody writes it any more.
    let Some(flow) = (unsafe { FLOWS.get(&cookie) }) else { return 0 };
    if flow.random != [0; 16] {
        let _ = CONNECTIONS.remove(&Handle { bytes: flow.random });
    }
    if flow.captured != 0 {
        if let Some(mut entry) = emit::reserve::<Close>(kind::CLOSE) {
            let (bytes_sent, bytes_received) = socket.tcp_bytes();
            entry.write(Close { header: emit::header(kind::CLOSE, 0), flow: *flow, bytes_sent, bytes_received });
            emit::submit(entry, Urgency::Tick);
        }
    }
    let _ = FLOWS.remove(&cookie);
    0
}
