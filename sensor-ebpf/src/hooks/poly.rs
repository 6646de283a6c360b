//! Records that a library encrypts or decrypts with ChaCha20-Poly1305, one a call: BoringSSL, AWS-LC, ring.
//!
//! Hook: uprobes on the functions that do the whole record, and on their returns (x86-64). What is authenticated beside
//! the record is an argument: in TLS 1.3 its header (RFC 8446 5.2), in TLS 1.2 its number, type, version and length (RFC
//! 5246 6.2.3.3). A call counts only when that has the form of one of them and the length of this very plaintext. The
//! parameters are a copy on the stack of every call, so the key is named by its own 32 bytes, mixed to half as many: no
//! two directions of TLS connections have the same. Which socket it belongs to is proven as for other keys (`aead`).
//! Missed: libraries that encrypt the content type apart from the plaintext, as BoringSSL's own TLS does.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::uprobe, programs::ProbeContext};
use sensor_common::tls::{AeadKey, form};

use super::{
    aead::{self, Record, mix, read},
    gcm,
    probe::Told,
    tls,
};

/// Where the counter and the nonce are in the parameters, behind the key.
const COUNTER: u64 = 32;

#[uprobe]
fn kw_poly_enter(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

#[inline(always)]
fn enter(ctx: &ProbeContext) -> Option<()> {
    let told = Told::if_watched(ctx)?;
    told.count()?;
    if tls::is_inside_call(ctx) {
        return None; // the call reports
    }
    let (output, input, len): (u64, u64, u64) = (ctx.arg(0)?, ctx.arg(1)?, ctx.arg(2)?);
    let (data, size, parameters): (u64, u64, u64) = (ctx.arg(3)?, ctx.arg(4)?, ctx.arg(5)?);
    let beside = gcm::beside(block(data, size)?, form::IMPLICIT)?;
    if beside.size() != size || u64::from(beside.len) != len {
        return None;
    }
    let [a, b, c, d]: [u64; 4] = read(parameters)?;
    let process = bpf_get_current_pid_tgid() >> 32;
    let record = Record {
        input,
        output,
        len,
        key: AeadKey { address: mix(a, b), mark: mix(c, d) ^ process },
        counter: parameters + COUNTER,
        stack: tls::stack_pointer(ctx),
        target: told.target(),
        form: Some(beside.form),
        content: beside.content,
    };
    aead::follow(&record, told.reads())
}

/// What is authenticated beside a record, `size` bytes, filled with zeros to a block.
#[inline(always)]
fn block(data: u64, size: u64) -> Option<[u64; 2]> {
    let header = |at: u64| -> Option<u64> {
        let [a, b, c, d, e]: [u8; gcm::HEADER as usize] = read(at)?;
        Some(u64::from_ne_bytes([a, b, c, d, e, 0, 0, 0]))
    };
    if size == gcm::HEADER {
        Some([header(data)?, 0])
    } else if size == gcm::NUMBER + gcm::HEADER {
        Some([read(data)?, header(data + gcm::NUMBER)?])
    } else {
        None
    }
}
