//! A socket's own storage, from every context that has the socket.

use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::generated::bpf_sk_storage_get,
};
use sensor_common::connect::Flow;

use crate::maps::FLOWS;

/// The flow kept in `socket` (a `bpf_sock` pointer from a program context), if any.
#[inline(always)]
pub fn flow<'a, S>(socket: *mut S) -> Option<&'a mut Flow> {
    storage(socket, 0)
}

/// The flow kept in `socket`, made when there is none; `None` when the kernel is out of memory.
#[inline(always)]
pub fn flow_or_new<'a, S>(socket: *mut S) -> Option<&'a mut Flow> {
    storage(socket, BPF_SK_STORAGE_GET_F_CREATE.into())
}

#[inline(always)]
fn storage<'a, S>(socket: *mut S, flags: u64) -> Option<&'a mut Flow> {
    if socket.is_null() {
        return None;
    }
    let map = core::ptr::addr_of!(FLOWS) as *mut _;
    // SAFETY: the map is socket storage of `Flow`; the verifier proves that `socket` is a socket, and
    // the value stays valid until the program returns.
    unsafe { bpf_sk_storage_get(map, socket.cast(), core::ptr::null_mut(), flags).cast::<Flow>().as_mut() }
}
