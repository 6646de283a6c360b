//! IP and transport headers of a packet, read in place.

use aya_ebpf::{helpers::generated::bpf_skb_load_bytes, programs::SkBuffContext};
use sensor_common::connect::Address;

use super::connect::{address4, address6};

/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;

const IPV4_MIN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_MIN: usize = 20;
const IPV4_SOURCE: usize = 12;
const IPV6_SOURCE: usize = 8;

/// Transport protocol of a packet and where its header begins.
#[derive(Clone, Copy)]
pub struct Transport {
    /// IP protocol number; extension headers of IPv6 are not followed.
    pub protocol: u8,
    /// Bytes before the transport header.
    pub offset: usize,
}

#[inline(always)]
fn bounds(ctx: &SkBuffContext) -> (usize, usize) {
    // SAFETY: the context is valid for the run of the program.
    unsafe { ((*ctx.skb.skb).data as usize, (*ctx.skb.skb).data_end as usize) }
}

/// The transport of an IPv4 or IPv6 packet.
#[inline(always)]
pub fn transport(ctx: &SkBuffContext) -> Option<Transport> {
    let (start, end) = bounds(ctx);
    if start + IPV4_MIN > end {
        return None;
    }
    // SAFETY: the first bytes were checked right above, in the form that the verifier follows.
    let (first, protocol6, protocol4) = unsafe {
        let header = start as *const u8;
        (*header, *header.add(6), *header.add(9))
    };
    match first >> 4 {
        4 => {
            let length = usize::from(first & 0xf) * 4;
            (length >= IPV4_MIN).then_some(Transport { protocol: protocol4, offset: length })
        }
        6 => Some(Transport { protocol: protocol6, offset: IPV6_LEN }),
        _ => None,
    }
}

/// A TCP payload: sequence number and position in the packet.
#[derive(Clone, Copy)]
pub struct Payload {
    /// Sequence number of its first byte; 0 for UDP.
    pub seq: u32,
    /// Sequence number of the next byte awaited from the other side; 0 for UDP.
    pub ack: u32,
    /// Bytes before it.
    pub offset: usize,
    /// Its length, never 0.
    pub len: usize,
}

/// The TCP payload of a packet; `None` when there is none.
#[inline(always)]
pub fn tcp_payload(ctx: &SkBuffContext, at: usize) -> Option<Payload> {
    let (start, end) = bounds(ctx);
    if start + at + TCP_MIN > end {
        return None;
    }
    // SAFETY: the whole fixed header was checked right above.
    let (seq, ack, words) = unsafe {
        let header = (start + at) as *const u8;
        (
            u32::from_be_bytes([*header.add(4), *header.add(5), *header.add(6), *header.add(7)]),
            u32::from_be_bytes([*header.add(8), *header.add(9), *header.add(10), *header.add(11)]),
            *header.add(12) >> 4,
        )
    };
    let offset = at + usize::from(words) * 4;
    let total = ctx.len() as usize;
    if total <= offset {
        return None;
    }
    Some(Payload { seq, ack, offset, len: total - offset })
}

/// Copies `len` (1 to `limit`) packet bytes at `offset` to `to`; `None` when there are not as many.
///
/// # Safety
///
/// `to` must have room for `limit` bytes.
#[inline(always)]
pub unsafe fn load(ctx: &SkBuffContext, offset: usize, to: *mut u8, len: usize, limit: usize) -> Option<()> {
    // One comparison of what is less by one tells the verifier both ends of the range; from `!= 0` kernels before 6.8
    // learn nothing. The compiler must not know what is compared, or it compares something else.
    let less = core::hint::black_box(len.wrapping_sub(1));
    if less >= limit {
        return None;
    }
    // SAFETY: `to` has room for `limit` bytes, as the caller says, and no more are copied; the helper checks the packet.
    let error =
        unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), offset as u32, to.cast(), (less + 1) as u32) };
    (error == 0).then_some(())
}

/// Source address and port of a packet.
#[inline(always)]
pub fn source(ctx: &SkBuffContext, transport: Transport) -> Option<Address> {
    // Source and destination port come first in TCP and UDP.
    let port = u16::from_be(ctx.load::<u16>(transport.offset).ok()?);
    if transport.offset == IPV6_LEN && is_ipv6(ctx) {
        Some(address6(ctx.load::<[u32; 4]>(IPV6_SOURCE).ok()?, port))
    } else {
        Some(address4(ctx.load::<u32>(IPV4_SOURCE).ok()?, port))
    }
}

#[inline(always)]
fn is_ipv6(ctx: &SkBuffContext) -> bool {
    ctx.load::<u8>(0).is_ok_and(|first| first >> 4 == 6)
}
