//! Who opens a flow.
//!
//! Hook: `cgroup/connect4,6` and, for datagrams without connect, `cgroup/sendmsg4,6` (since 4.17 and
//! 4.18), at the root of the cgroup v2 tree. They run in the context of the calling thread with the
//! socket at hand, io_uring included, and the address is the one the kernel uses, after the copy from
//! user memory. What is learned is kept by socket cookie. Missed: sockets connected before the
//! sensor started (seeded by user space), and TCP Fast Open data sent with `sendto(MSG_FASTOPEN)` on
//! kernels that skip the hook there.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use sensor_common::{
    connect::{Address, Connect, Flow},
    handshake, kind,
};

use crate::{
    emit::{self, Urgency},
    flows,
    maps::MODEL_ADDRESSES,
    offsets,
};

const ALLOW: i32 = 1;
const IPPROTO_UDP: u32 = 17;
const HTTPS: u16 = 443;
/// Port of instance metadata.
const HTTP: u16 = 80;
/// Datagrams to other ports are neither QUIC to a model endpoint nor DNS.
const UDP_PORTS: [u16; 2] = [HTTPS, 53];

#[cgroup_sock_addr(connect4)]
fn kw_connect4(ctx: SockAddrContext) -> i32 {
    opened(&ctx, remote4(&ctx));
    ALLOW
}

#[cgroup_sock_addr(connect6)]
fn kw_connect6(ctx: SockAddrContext) -> i32 {
    opened(&ctx, remote6(&ctx));
    ALLOW
}

#[cgroup_sock_addr(sendmsg4)]
fn kw_sendmsg4(ctx: SockAddrContext) -> i32 {
    opened(&ctx, remote4(&ctx));
    ALLOW
}

#[cgroup_sock_addr(sendmsg6)]
fn kw_sendmsg6(ctx: SockAddrContext) -> i32 {
    opened(&ctx, remote6(&ctx));
    ALLOW
}

#[inline(always)]
fn remote4(ctx: &SockAddrContext) -> Address {
    // SAFETY: the context is valid for the run of the program.
    let (ip, port) = unsafe { ((*ctx.sock_addr).user_ip4, (*ctx.sock_addr).user_port) };
    address4(ip, u16::from_be(port as u16))
}

#[inline(always)]
fn remote6(ctx: &SockAddrContext) -> Address {
    // SAFETY: the context is valid for the run of the program; each word is read by itself because
    // the verifier allows only word accesses here.
    let (a, b, c, d, port) = unsafe {
        let addr = ctx.sock_addr;
        (
            (*addr).user_ip6[0],
            (*addr).user_ip6[1],
            (*addr).user_ip6[2],
            (*addr).user_ip6[3],
            (*addr).user_port,
        )
    };
    address6([a, b, c, d], u16::from_be(port as u16))
}

/// An IPv4 address (network byte order) in the common form.
#[inline(always)]
pub fn address4(ip: u32, port: u16) -> Address {
    let b = ip.to_ne_bytes();
    Address { ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]], port, pad: [0; 6] }
}

/// An IPv6 address (words in network byte order) in the common form.
#[inline(always)]
pub fn address6(words: [u32; 4], port: u16) -> Address {
    let (a, b, c, d) =
        (words[0].to_ne_bytes(), words[1].to_ne_bytes(), words[2].to_ne_bytes(), words[3].to_ne_bytes());
    Address {
        ip: [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]],
        port,
        pad: [0; 6],
    }
}

/// Whether an address is of the kind at which clouds hand out credentials: 169.254.0.0/16 (RFC 3927) and
/// fd00:ec2::/32. User space knows the exact ones.
#[inline(always)]
fn may_be_metadata(ip: &[u8; 16]) -> bool {
    (ip[12] == 169 && ip[13] == 254 && ip[10] == 0xff) || (ip[0] == 0xfd && ip[2] == 0x0e && ip[3] == 0xc2)
}

#[inline(always)]
fn opened(ctx: &SockAddrContext, remote: Address) {
    // SAFETY: the context is valid for the run of the program.
    let protocol = unsafe { (*ctx.sock_addr).protocol };
    if protocol == IPPROTO_UDP && !UDP_PORTS.contains(&remote.port) {
        return;
    }
    // SAFETY: the helper has no preconditions beyond a valid context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if protocol == IPPROTO_UDP
        && let Some(entry) = flows::find(cookie)
    {
        let known = entry.flow().remote;
        if known.ip == remote.ip && known.port == remote.port {
            return; // a further datagram of the same flow
        }
    }
    // A socket whose connect failed may connect again: the entry is set anew.
    let flow = Flow {
        cookie,
        task: offsets::current_task_unnamed(),
        // SAFETY: the helper has no preconditions.
        opened_ns: unsafe { bpf_ktime_get_boot_ns() },
        remote,
        local: Address { ip: [0; 16], port: 0, pad: [0; 6] },
        protocol,
        state: handshake::state::NEW,
        first_seq: 0,
        packets: 0,
        wanted: 0,
        captured: 0,
        answer_seq: 0,
        asks: 0,
        random: [0; 16],
    };
    if flows::put(&flow).is_none() {
        return; // every slot exists
    }
    // A sign to attach early; other ports show themselves with their first payload.
    // SAFETY: a shared read of a map value.
    let model = remote.port == HTTPS && unsafe { MODEL_ADDRESSES.get(&remote.ip) }.is_some();
    if (model || (remote.port == HTTP && may_be_metadata(&remote.ip)))
        && let Some(mut entry) = emit::reserve::<Connect>(kind::CONNECT)
    {
        let event = entry.as_mut_ptr();
        // SAFETY: `event` is memory of the reserved entry, filled before submit.
        unsafe {
            (*event).header = emit::header(kind::CONNECT, 0);
            (*event).flow = flow;
        }
        emit::submit(entry, Urgency::Now);
    }
}
