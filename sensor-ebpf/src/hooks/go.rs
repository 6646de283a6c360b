//! Plaintext of Go's crypto/tls.
//!
//! Hook: uprobes on the entry and on every return instruction of `crypto/tls.(*Conn).Read` and `Write`
//! (arguments in registers since Go 1.17; x86-64). Return probes would write to stacks that Go moves. A
//! call is recognised at its return by its goroutine and its place on the goroutine's stack, counted from
//! the stack's base: both stay when the stack moves or the goroutine changes threads. The connection
//! holds no client random after the handshake; it holds its socket: `net.TCPConn`, `netFD` and its
//! descriptor are followed, and the kernel says which socket that is. Missed: connections over anything but
//! a TCP socket (unbound), and buffers on the goroutine's stack (counted as not readable).
//!
//! What is written is taken at the entry: another goroutine may have read the answer before `Write`
//! returns, and Go writes all of it or the connection is broken. Only a write that may have to do the
//! handshake first, whose socket has sent no ClientHello yet, is taken at its return.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user},
    macros::uprobe,
    programs::ProbeContext,
};
use sensor_common::{
    cause, kind,
    tls::{Call, Handle, direction, handle},
};

use super::{probe::Told, tls};
use crate::{emit, flows, maps::GO_CALLS, offsets};

/// `tls.Conn.conn`, an interface: the value is its second word.
const CONN_VALUE: u64 = 8;
/// `netFD.pfd.Sysfd`, behind the lock.
const NETFD_DESCRIPTOR: u64 = 0x10;
/// `netFD.family` and `netFD.sotype`, behind `poll.FD`.
const NETFD_FAMILY: u64 = 0x38;
const NETFD_TYPE: u64 = 0x40;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;

/// What the registers hold at an entry; at a return only goroutine, stack and result count.
struct Registers {
    first: u64,
    second: u64,
    third: u64,
    goroutine: u64,
    stack: u64,
}

#[uprobe]
fn kw_go_enter(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

#[uprobe]
fn kw_go_return(ctx: ProbeContext) -> u32 {
    let _ = returned(&ctx);
    0
}

#[inline(always)]
fn registers(ctx: &ProbeContext) -> Registers {
    let regs = ctx.as_ptr().cast::<aya_ebpf::bindings::pt_regs>();
    // SAFETY: the context of a probe is the register set. Go's own calling convention (cmd/compile/abi-internal.md).
    #[cfg(bpf_target_arch = "x86_64")]
    return unsafe {
        Registers {
            first: (*regs).rax,
            second: (*regs).rbx,
            third: (*regs).rcx,
            goroutine: (*regs).r14,
            stack: (*regs).rsp,
        }
    };
    // SAFETY: as above.
    #[cfg(bpf_target_arch = "aarch64")]
    return unsafe {
        Registers {
            first: (*regs).regs[0],
            second: (*regs).regs[1],
            third: (*regs).regs[2],
            goroutine: (*regs).regs[28],
            stack: (*regs).sp,
        }
    };
}

#[inline(always)]
fn word(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}

/// Names a call under way, and tells the goroutine's stack (`g.stack`, its first two words).
#[inline(always)]
fn key(at: &Registers) -> Option<([u64; 2], u64, u64)> {
    let (low, high) = (word(at.goroutine)?, word(at.goroutine + 8)?);
    let process = bpf_get_current_pid_tgid() >> 32 << 32;
    // A goroutine's stack has at most 1 GiB.
    let depth = high.checked_sub(at.stack)? & 0xffff_ffff;
    Some(([at.goroutine, process | depth], low, high))
}

#[inline(always)]
fn enter(ctx: &ProbeContext) -> Option<()> {
    let told = Told::if_watched(ctx)?;
    told.count()?;
    let target = told.target();
    let at = registers(ctx);
    let direction = if told.reads() { direction::READ } else { direction::WRITE };
    if direction == direction::WRITE
        && let Some(random) = random(at.first)
    {
        let total = u32::try_from(at.third).ok().filter(|total| *total > 0 && *total <= u32::MAX >> 1)?;
        let (object, buffer, stack) = (at.first, at.second, at.stack);
        let call = Call { object, buffer, count: 0, stack, direction, target };
        let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        return tls::deliver(&call, total, tgid, random, handle::RANDOM);
    }
    let (key, low, high) = key(&at)?;
    let moves = at.second >= low && at.second < high;
    let call = Call {
        object: at.first,
        // On the stack it may be elsewhere when the call returns. Address 0 cannot be read, and that counts.
        buffer: if moves { 0 } else { at.second },
        count: 0,
        stack: at.stack,
        direction,
        target,
    };
    if GO_CALLS.insert(&key, &call, 0).is_err() {
        emit::produced(kind::TLS);
        emit::lost(kind::TLS, cause::TABLE_FULL);
    }
    Some(())
}

#[inline(always)]
fn returned(ctx: &ProbeContext) -> Option<()> {
    let at = registers(ctx);
    let (key, ..) = key(&at)?;
    // SAFETY: a shared read of a map value that only this goroutine writes.
    let call = *unsafe { GO_CALLS.get(&key) }?;
    let _ = GO_CALLS.remove(&key);
    let total = at.first as i64;
    if total <= 0 || total > i64::from(u32::MAX >> 1) {
        return None;
    }
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let (connection, named) = match random(call.object) {
        Some(random) => (random, handle::RANDOM),
        None => (tls::object_handle(call.object, tgid), handle::OBJECT),
    };
    tls::deliver(&call, total as u32, tgid, connection, named)
}

/// The client random that was seen on the connection's socket.
#[inline(always)]
fn random(object: u64) -> Option<Handle> {
    let netfd = word(word(object + CONN_VALUE)?)?;
    // Not every connection is a TCP one; what looks like one must be one in every respect.
    let family = word(netfd + NETFD_FAMILY)?;
    if (family != AF_INET && family != AF_INET6) || word(netfd + NETFD_TYPE)? != SOCK_STREAM {
        return None;
    }
    let descriptor = word(netfd + NETFD_DESCRIPTOR)?;
    let cookie = offsets::descriptor_cookie(u32::try_from(descriptor).ok()?);
    let entry = flows::find(cookie)?;
    let bytes = entry.flow().random;
    (bytes != [0; 16] && entry.is_own()).then_some(Handle { bytes })
}
