//! Plaintext of OpenSSL-compatible libraries.
//!
//! Hook: uprobe and uretprobe on `SSL_write`, `SSL_write_ex`, `SSL_read`, `SSL_read_ex` (attach
//! cookies since 5.15). Plaintext is taken on return, where the accepted or read byte count is known:
//! a partial write is not seen twice and a failed read shows no stale bytes. The connection is named by
//! its client random, read from the TLS object itself at the moment of the call: an object address that
//! is used again can never borrow another connection's socket. Missed: libraries without these
//! functions, and connections whose ClientHello was sent before the sensor started (unbound).

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, bpf_probe_read_user_buf},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use sensor_common::{
    Task, cause, kind,
    tls::{
        Call, Connection, Data, Handle, Layout, MAX_CHUNK, NO_POINTER, SEARCH_TRIES, SEARCH_WINDOW, SIZES,
        direction, handle, verdict,
    },
};

use super::{http, probe::Told};
use crate::{
    emit::{self, Event, Urgency},
    maps::{CALLS, CONNECTIONS, HITS, LAYOUTS, VERDICTS},
    offsets,
};

/// Bytes of plaintext that tell whether it is a request.
pub(super) const PEEK: usize = 16;
/// Most stack between a TLS function and the cipher below it, bytes.
const MAX_DEPTH: u64 = 64 << 10;
/// Largest user address (x86-64 and arm64 with 48 bits).
const USER_MAX: u64 = 1 << 47;
/// Offsets of the random behind a pointer: BoringSSL `SSL3_STATE`, OpenSSL 1.1 and LibreSSL `ssl3_state_st`.
const BEHIND_POINTER: [u64; 2] = [0x30, 0xb8];
/// Pointer fields at the start of a TLS object that are followed in a search.
const POINTER_FIELDS: u64 = 32;

#[uprobe]
fn kw_tls_enter(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

#[uretprobe]
fn kw_tls_return(ctx: RetProbeContext) -> u32 {
    let _ = returned(&ctx);
    0
}

/// The stack pointer at a probe.
#[inline(always)]
pub(super) fn stack_pointer<C: aya_ebpf::EbpfContext>(ctx: &C) -> u64 {
    let regs = ctx.as_ptr().cast::<aya_ebpf::bindings::pt_regs>();
    // SAFETY: the context of a probe is the register set.
    #[cfg(bpf_target_arch = "x86_64")]
    return unsafe { (*regs).rsp };
    // SAFETY: as above.
    #[cfg(bpf_target_arch = "aarch64")]
    return unsafe { (*regs).sp };
}

/// Whether this thread is inside a call of a function that is probed here. One that was left behind by a call that never
/// returned lies elsewhere on the stack.
#[inline(always)]
pub(super) fn is_inside_call(ctx: &ProbeContext) -> bool {
    // SAFETY: a shared read of a map value that only this thread writes.
    let call = unsafe { CALLS.get(&bpf_get_current_pid_tgid()) };
    let depth = call.map_or(0, |call| call.stack.wrapping_sub(stack_pointer(ctx)));
    depth > 0 && depth <= MAX_DEPTH
}

#[inline(always)]
fn enter(ctx: &ProbeContext) -> Option<()> {
    let told = Told::if_watched(ctx)?;
    told.count()?;
    // Both are read whichever is wanted: the verifier refuses an address in the context that is computed.
    let (fourth, fifth): (u64, u64) = (ctx.arg(3)?, ctx.arg(4)?);
    let (fourth, fifth) = (core::hint::black_box(fourth), core::hint::black_box(fifth));
    let count = match told.count_argument() {
        3 => fourth,
        4 => fifth,
        _ => 0,
    };
    let call = Call {
        object: ctx.arg(0)?,
        buffer: ctx.arg(1)?,
        count,
        stack: stack_pointer(ctx),
        direction: if told.reads() { direction::READ } else { direction::WRITE },
        target: told.target(),
    };
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a shared read of a map value that only this thread writes.
    if let Some(outer) = unsafe { CALLS.get(&thread) } {
        // A wrapper that calls the plain function (LibreSSL): the outer call reports.
        if outer.object == call.object && outer.buffer == call.buffer && outer.stack > call.stack {
            return None;
        }
    }
    if CALLS.insert(&thread, &call, 0).is_err() {
        emit::produced(kind::TLS);
        emit::lost(kind::TLS, cause::TABLE_FULL);
    }
    Some(())
}

#[inline(always)]
fn returned(ctx: &RetProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a shared read of a map value that only this thread writes.
    let call = *unsafe { CALLS.get(&thread) }?;
    // On return the stack is where it was at entry, without the return address.
    let stack = stack_pointer(ctx);
    if stack < call.stack {
        return None; // the inner call of a wrapper
    }
    let _ = CALLS.remove(&thread);
    if stack > call.stack + 16 {
        return None; // a call that never returned left this behind
    }
    let returned = ctx.ret::<u64>() as i32;
    if returned <= 0 {
        return None;
    }
    let total = if call.count != 0 {
        // SAFETY: the helper checks the address.
        let count: u64 = unsafe { bpf_probe_read_user(call.count as *const u64) }.ok()?;
        if count > u64::from(u32::MAX >> 1) { return None } else { count as u32 }
    } else {
        returned as u32
    };
    if total == 0 {
        return None;
    }
    plaintext(&call, total, (thread >> 32) as u32)
}

#[inline(always)]
fn plaintext(call: &Call, total: u32, tgid: u32) -> Option<()> {
    let (connection, named) = match name(call) {
        Some(random) => (random, handle::RANDOM),
        None => (object_handle(call.object, tgid), handle::OBJECT),
    };
    deliver(call, total, tgid, connection, named)
}

/// Sends what a call moved, when the connection is or may be one to a model and this is its client side.
#[inline(always)]
pub(super) fn deliver(call: &Call, total: u32, tgid: u32, connection: Handle, named: u32) -> Option<()> {
    // SAFETY: a shared read of a map value.
    let decided = unsafe { VERDICTS.get(&connection) }.copied().unwrap_or(verdict::PENDING);
    if decided == verdict::OTHER {
        return None;
    }
    let mut first = [0u8; PEEK];
    let peek = if (total as usize) < PEEK { total as usize } else { PEEK };
    // Unreadable bytes are still counted in the position, so that their loss shows.
    // SAFETY: the helper checks the address.
    let readable =
        unsafe { bpf_probe_read_user_buf(call.buffer as *const u8, first.get_mut(..peek)?) }.is_ok();
    let (cookie, position) = client_side(&connection, call, tgid, total, &first)?;
    if let Some(hits) = HITS.get_ptr_mut(call.target) {
        // SAFETY: the per-CPU slot is valid for this run.
        unsafe { (*hits).model += 1 };
    }
    if !readable {
        emit::produced(kind::TLS);
        emit::lost(kind::TLS, cause::READ_FAULT);
        return None;
    }
    send(call, total, &connection, named, cookie, position)
}

/// Counts bytes that are not told, so that what follows them shows a gap.
#[inline(always)]
pub(super) fn skip(connection: &Handle, direction: u32, bytes: u32) -> Option<()> {
    let known = CONNECTIONS.get_ptr_mut(connection)?;
    // SAFETY: the entry stays valid for this run; one thread at a time writes or reads on a connection.
    let moved = unsafe { &mut (*known).moved[(direction & 1) as usize] };
    *moved = moved.wrapping_add(u64::from(bytes));
    Some(())
}

/// Socket cookie and position of these bytes when this TLS object is the client side of the connection.
///
/// Both ends of a loopback connection hold the same random. The client is the object that wrote a
/// request; the object that reads requests or writes responses is a server and is left alone. Another thread may
/// have read the answer before the write of the first request returns: who reads a response first is the client, too.
#[inline(always)]
pub(super) fn client_side(
    connection: &Handle,
    call: &Call,
    tgid: u32,
    total: u32,
    first: &[u8; PEEK],
) -> Option<(u64, u64)> {
    let request = call.direction == direction::WRITE && is_request(first);
    let side = (call.direction & 1) as usize;
    match CONNECTIONS.get_ptr_mut(connection) {
        Some(known) => {
            // SAFETY: the entry stays valid for this run; both fields only ever hold one client's
            // values, and a lost race is settled by the next request.
            unsafe {
                let answer = call.direction == direction::READ
                    && (*known).object == 0
                    && [first[0], first[1], first[2], first[3]] == *b"HTTP";
                if request || answer {
                    (*known).object = call.object;
                    (*known).tgid = tgid;
                } else if (*known).object != call.object || (*known).tgid != tgid {
                    return None;
                }
                let position = (*known).moved[side];
                (*known).moved[side] = position.wrapping_add(u64::from(total));
                Some(((*known).cookie, position))
            }
        }
        None if request => {
            let mut moved = [0; 2];
            moved[side] = u64::from(total);
            let unbound = Connection { cookie: 0, object: call.object, tgid, pad: 0, moved };
            if CONNECTIONS.insert(connection, &unbound, 0).is_err() {
                emit::produced(kind::TLS);
                emit::lost(kind::TLS, cause::TABLE_FULL);
                return None;
            }
            Some((0, 0))
        }
        None => None,
    }
}

/// A request of HTTP/1, the preface of HTTP/2 (RFC 9113 3.4), or requests on an HTTP/2 connection that is
/// already open.
#[inline(always)]
fn is_request(first: &[u8; PEEK]) -> bool {
    let start = [first[0], first[1], first[2], first[3]];
    http::is_method(start) || start == *b"PRI " || http::is_open_http2(first)
}

#[inline(always)]
pub(super) fn object_handle(object: u64, tgid: u32) -> Handle {
    let (a, b) = (object.to_ne_bytes(), tgid.to_ne_bytes());
    Handle { bytes: [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1], b[2], b[3], 0, 0, 0, 0] }
}

/// The client random of a TLS object, by the library's known layout or by a search.
#[inline(always)]
fn name(call: &Call) -> Option<Handle> {
    let layout = LAYOUTS.get_ptr_mut(call.target)?;
    // SAFETY: the array slot is valid for this run. `known` is written last and values of one library
    // are the same from every thread.
    unsafe {
        if (*layout).known != 0 {
            let base = if (*layout).pointer == NO_POINTER {
                call.object
            } else {
                bpf_probe_read_user((call.object + u64::from((*layout).pointer)) as *const u64).ok()?
            };
            return handle_at(base + u64::from((*layout).random));
        }
        if (*layout).tries >= SEARCH_TRIES {
            return None;
        }
        (*layout).tries += 1;
    }
    search(call.object, layout)
}

#[inline(always)]
fn handle_at(address: u64) -> Option<Handle> {
    // SAFETY: the helper checks the address.
    let bytes: [u8; 16] = unsafe { bpf_probe_read_user(address as *const [u8; 16]) }.ok()?;
    (bytes != [0; 16]).then_some(Handle { bytes })
}

/// Looks for a client random that the handshake hook saw on the wire. A hit is 16 equal random bytes,
/// so whatever the library, it is no coincidence. Behind pointers first: an object that has one is small, and what lies
/// after it may be the state of another connection.
#[inline(never)]
fn search(object: u64, layout: *mut Layout) -> Option<Handle> {
    let mut field = 0u64;
    while field < POINTER_FIELDS * 8 {
        // SAFETY: the helper checks the address.
        let pointer: u64 = unsafe { bpf_probe_read_user((object + field) as *const u64) }.unwrap_or(0);
        if pointer > 4096 && pointer < USER_MAX && pointer & 7 == 0 {
            for behind in BEHIND_POINTER {
                if let Some(found) = seen(pointer + behind) {
                    learn(layout, field as u32, behind as u32);
                    return Some(found);
                }
            }
        }
        field += 8;
    }
    let mut offset = 0u64;
    while offset < SEARCH_WINDOW {
        if let Some(found) = seen(object + offset) {
            learn(layout, NO_POINTER, offset as u32);
            return Some(found);
        }
        offset += 8;
    }
    None
}

#[inline(always)]
fn seen(address: u64) -> Option<Handle> {
    let found = handle_at(address)?;
    // SAFETY: a shared read of a map value.
    let connection = unsafe { CONNECTIONS.get(&found) }?;
    (connection.cookie != 0).then_some(found)
}

#[inline(always)]
fn learn(layout: *mut Layout, pointer: u32, random: u32) {
    // SAFETY: the array slot is valid for this run; `known` comes last.
    unsafe {
        (*layout).pointer = pointer;
        (*layout).random = random;
        core::ptr::write_volatile(core::ptr::addr_of_mut!((*layout).known), 1);
    }
}

#[inline(always)]
fn send(call: &Call, total: u32, connection: &Handle, named: u32, cookie: u64, position: u64) -> Option<()> {
    let task = offsets::current_task();
    let mut offset = 0u32;
    // A frozen constant: older verifiers follow too many ways through a longer loop, and give up.
    for _ in 0..offsets::max_parts() {
        if offset >= total {
            return Some(());
        }
        let left = (total - offset) as usize;
        let part = Part { call, offset, position, connection, named, cookie, task: &task };
        let sent = if left <= SIZES[0] {
            part.send::<{ SIZES[0] }>(left)
        } else if left <= SIZES[1] {
            part.send::<{ SIZES[1] }>(left)
        } else if left <= SIZES[2] {
            part.send::<{ SIZES[2] }>(left)
        } else {
            part.send::<MAX_CHUNK>(left)
        };
        sent?;
        offset += MAX_CHUNK as u32;
    }
    if offset < total {
        emit::lost(kind::TLS, cause::OVER_LIMIT);
    }
    Some(())
}

struct Part<'a> {
    call: &'a Call,
    offset: u32,
    position: u64,
    connection: &'a Handle,
    named: u32,
    cookie: u64,
    task: &'a Task,
}

impl Part<'_> {
    #[inline(always)]
    fn send<const N: usize>(&self, left: usize) -> Option<()> {
        // The compiler may know the range; the verifier has to see it.
        let take = core::hint::black_box(if left < N { left } else { N });
        let mut entry = emit::reserve::<Event<Data, N>>(kind::TLS)?;
        let event = entry.as_mut_ptr();
        let from = self.call.buffer + u64::from(self.offset);
        // SAFETY: `event` is memory of the reserved entry, filled before submit; `take` is at most N.
        let copied = unsafe {
            (*event).fixed = Data {
                header: emit::header(kind::TLS, take as u32),
                task: *self.task,
                connection: *self.connection,
                object: self.call.object,
                cookie: self.cookie,
                handle: self.named,
                direction: self.call.direction,
                target: self.call.target,
                pad: 0,
                position: self.position.wrapping_add(u64::from(self.offset)),
            };
            match (*event).bytes.get_mut(..take) {
                Some(room) => bpf_probe_read_user_buf(from as *const u8, room).is_ok(),
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
}
