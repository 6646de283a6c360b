//! Records that a library encrypts or decrypts in pieces: ring on processors with VAES.
//!
//! Hook: uprobes on the function that hashes one block, and on counter mode and its returns (x86-64). ring
//! hashes, one after the other on one thread: the record's header, which TLS 1.3 authenticates (RFC 8446 5.2)
//! and which says the length; the whole blocks, in the function that `aead` probes; an incomplete last
//! block; and the lengths, after which the plaintext or ciphertext is complete (NIST SP 800-38D 7.1). A record
//! counts only when its hash was empty before the header and the lengths at the end agree with it. A record
//! shorter than one block is only an incomplete block: it goes through counter mode, after its ciphertext
//! was hashed when it is decrypted, before when it is encrypted. Missed: such a record as the first of its
//! key, and TLS 1.2, whose header is another.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::uprobe,
    programs::ProbeContext,
};
use sensor_common::tls::{MAX_SEALED, Pieces, direction};

use super::{
    aead::{self, APPLICATION_DATA, read},
    probe::Told,
    tls,
};
use crate::maps::AEAD_PIECES;

/// A block of the cipher, bytes.
const BLOCK: u32 = 16;
/// Authentication tag behind the ciphertext, bytes.
const TAG: u32 = 16;
/// Header of a record, bytes: outer type, version 3.3, length of what follows (RFC 8446 5.2).
const HEADER: u64 = 5;
const HEADER_START: u64 = 0x03_0317;
const HEADER_START_BITS: u64 = 0xff_ffff;

#[uprobe]
fn kw_gcm_hash(ctx: ProbeContext) -> u32 {
    let _ = hash(&ctx);
    0
}

#[uprobe]
fn kw_gcm_counter_enter(ctx: ProbeContext) -> u32 {
    let _ = counter(&ctx);
    0
}

#[uprobe]
fn kw_gcm_counter_return(ctx: ProbeContext) -> u32 {
    let _ = counted(&ctx);
    0
}

/// Length of the record that this thread is in, and when it began, if `blocks` are its whole blocks.
#[inline(always)]
pub(super) fn begun(hash_key: u64, blocks: u64) -> Option<(u64, u64)> {
    // SAFETY: a shared read of a map value that only this thread writes.
    let pieces = unsafe { AEAD_PIECES.get(&bpf_get_current_pid_tgid()) }?;
    let len = u64::from(pieces.len);
    (pieces.hash_key == hash_key && len - len % u64::from(BLOCK) == blocks).then_some((len, pieces.began))
}

#[inline(always)]
fn hash(ctx: &ProbeContext) -> Option<()> {
    let told = Told::if_watched(ctx)?;
    if tls::is_inside_call(ctx) {
        return None;
    }
    let (hash, hash_key, input): (u64, u64, u64) = (ctx.arg(0)?, ctx.arg(1)?, ctx.arg(2)?);
    let thread = bpf_get_current_pid_tgid();
    let block: [u64; 2] = read(input)?;
    if let Some(len) = header(block)
        && read::<[u64; 2]>(hash)? == [0; 2]
    {
        told.count()?;
        // SAFETY: the helper has no preconditions.
        let began = unsafe { bpf_ktime_get_boot_ns() };
        let pieces = Pieces { hash_key, began, output: 0, len, hashed: 0, block: [0; 2] };
        let _ = AEAD_PIECES.insert(&thread, &pieces, 0);
        return None;
    }
    let Some(pieces) = AEAD_PIECES.get_ptr_mut(&thread) else { return told.count() };
    // SAFETY: the entry stays valid for this run, and only this thread writes it.
    let known = unsafe { &mut *pieces };
    // The hash itself may move within a record.
    if known.hash_key != hash_key {
        return told.count();
    }
    if block != [(HEADER * 8).to_be(), (u64::from(known.len) * 8).to_be()] {
        known.hashed = 1;
        known.block = block;
        return None;
    }
    known.hash_key = 0;
    let own = |began: u64| began == known.began;
    let _ = aead::sealed(own);
    aead::opened(own)
}

/// Plaintext bytes with the inner type, if `block` is the header of a record, filled with zeros.
#[inline(always)]
fn header(block: [u64; 2]) -> Option<u32> {
    let [low, high] = [u64::from_le(block[0]), u64::from_le(block[1])];
    if low & HEADER_START_BITS != HEADER_START || low >> 40 != 0 || high != 0 {
        return None;
    }
    let len = (((low >> 24 & 0xff) << 8 | low >> 32 & 0xff) as u32).checked_sub(TAG)?;
    (len > 0 && len <= MAX_SEALED as u32).then_some(len)
}

/// The only block of a short record is about to be encrypted or decrypted.
#[inline(always)]
fn counter(ctx: &ProbeContext) -> Option<()> {
    let (input, output, blocks, first): (u64, u64, u64, u64) =
        (ctx.arg(0)?, ctx.arg(1)?, ctx.arg(2)?, ctx.arg(4)?);
    let told = Told::if_watched(ctx)?;
    let thread = bpf_get_current_pid_tgid();
    let Some(pieces) = AEAD_PIECES.get_ptr_mut(&thread) else { return told.count() };
    // SAFETY: the entry stays valid for this run, and only this thread writes it.
    let known = unsafe { &mut *pieces };
    if known.hash_key == 0 {
        let _ = AEAD_PIECES.remove(&thread);
        return None; // the tag
    }
    if blocks != 1 || known.len >= BLOCK || known.len < 2 {
        return None;
    }
    let block: [u64; 2] = read(input)?;
    if known.hashed != 0 {
        if known.block == block {
            known.output = output;
        }
        return None;
    }
    if !is_data(known.len, block) || !aead::is_first(first)? {
        return None;
    }
    let bound = aead::bound(known.hash_key)?;
    aead::deliver(&bound, direction::WRITE, input, known.len, told.target())
}

/// Whether the last of `len` bytes (1 to 15) says application data, and only zeros fill the rest of the block.
#[inline(always)]
fn is_data(len: u32, block: [u64; 2]) -> bool {
    let (word, filling) = if len > 8 { (block[1], 0) } else { (block[0], block[1]) };
    u64::from_le(word) >> (((len - 1) & 7) * 8) == u64::from(APPLICATION_DATA) && filling == 0
}

/// A block was encrypted or decrypted.
#[inline(always)]
fn counted(ctx: &ProbeContext) -> Option<()> {
    let pieces = AEAD_PIECES.get_ptr_mut(&bpf_get_current_pid_tgid())?;
    // SAFETY: the entry stays valid for this run, and only this thread writes it.
    let known = unsafe { &mut *pieces };
    let output = core::mem::replace(&mut known.output, 0);
    if output == 0 || read::<u8>(output + u64::from(known.len) - 1)? != APPLICATION_DATA {
        return None;
    }
    let bound = aead::bound(known.hash_key)?;
    aead::deliver(&bound, direction::READ, output, known.len, Told::of(ctx).target())
}
