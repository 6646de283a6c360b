//! Records that a library encrypts or decrypts in pieces: ring on processors with VAES.
//!
//! Hook: uprobes on the function that hashes one block, and on counter mode and its returns (x86-64). ring
//! hashes, one after the other on one thread: what is authenticated beside the record, which says its length: its
//! header in TLS 1.3 (RFC 8446 5.2), number, type, version and length in TLS 1.2 (RFC 5246 6.2.3.3); the whole blocks, in the function that `aead` probes; an incomplete last
//! block; and the lengths, after which the plaintext or ciphertext is complete (NIST SP 800-38D 7.1). A record
//! counts only when its hash was empty before the header and the lengths at the end agree with it. A record
//! shorter than one block is only an incomplete block: it goes through counter mode, after its ciphertext
//! was hashed when it is decrypted, before when it is encrypted. Missed: such a record as the first of its
//! key.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns},
    macros::uprobe,
    programs::ProbeContext,
};
use sensor_common::tls::{MAX_SEALED, Pieces, TAG, content, direction, form};

use super::{
    aead::{self, read},
    probe::Told,
    tls,
};
use crate::maps::AEAD_PIECES;

/// A block of the cipher, bytes.
const BLOCK: u32 = 16;
/// Header of a record, bytes: type, version 3.3, length of what follows (RFC 8446 5.2). TLS 1.2 has its number before it.
pub(super) const HEADER: u64 = 5;
pub(super) const NUMBER: u64 = 8;
const VERSION: u64 = 0x0303;

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

/// The record that this thread is in, if `blocks` are its whole blocks.
#[inline(always)]
pub(super) fn begun(hash_key: u64, blocks: u64) -> Option<&'static Pieces> {
    // SAFETY: a shared read of a map value that only this thread writes.
    let pieces = unsafe { AEAD_PIECES.get(&bpf_get_current_pid_tgid()) }?;
    let len = u64::from(pieces.len);
    (pieces.hash_key == hash_key && len - len % u64::from(BLOCK) == blocks).then_some(pieces)
}

/// What is authenticated beside a record.
pub(super) struct Beside {
    /// One of [`form`].
    pub(super) form: u16,
    /// One of [`content`].
    pub(super) content: u16,
    /// Plaintext bytes, with the inner type if there is one.
    pub(super) len: u32,
}

impl Beside {
    /// Its length in bytes.
    #[inline(always)]
    pub(super) fn size(&self) -> u64 {
        if self.form == form::INNER { HEADER } else { NUMBER + HEADER }
    }
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
    if let Some(Beside { form, content, len }) = beside(block, form::EXPLICIT)
        && read::<[u64; 2]>(hash)? == [0; 2]
    {
        told.count()?;
        // SAFETY: the helper has no preconditions.
        let began = unsafe { bpf_ktime_get_boot_ns() };
        let pieces =
            Pieces { hash_key, began, output: 0, len, form, content, hashed: 0, pad: 0, block: [0; 2] };
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
    let beside = Beside { form: known.form, content: known.content, len: known.len };
    if block != [(beside.size() * 8).to_be(), (u64::from(known.len) * 8).to_be()] {
        known.hashed = 1;
        known.block = block;
        return None;
    }
    known.hash_key = 0;
    let own = |began: u64| began == known.began;
    let _ = aead::sealed(own);
    aead::opened(own)
}

/// What `block` says of a record, filled with zeros; TLS 1.2 has the form `second`.
#[inline(always)]
pub(super) fn beside(block: [u64; 2], second: u16) -> Option<Beside> {
    let [low, high] = [u64::from_le(block[0]), u64::from_le(block[1])];
    // In TLS 1.2 the low word is the record's number, whatever it is.
    let (form, header) = if high == 0 { (form::INNER, low) } else { (second, high) };
    let content = (header & 0xff) as u16;
    let known = content == content::DATA || (content == content::HANDSHAKE && form != form::INNER);
    if !known || header >> 8 & 0xffff != VERSION || header >> 40 != 0 {
        return None;
    }
    let length = ((header >> 24 & 0xff) << 8 | header >> 32 & 0xff) as u32;
    let len = if form == form::INNER { length.checked_sub(TAG as u32)? } else { length };
    (len > 0 && len <= MAX_SEALED as u32).then_some(Beside { form, content, len })
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
    if blocks != 1 || known.len >= BLOCK || known.len == 0 {
        return None;
    }
    let block: [u64; 2] = read(input)?;
    if known.hashed != 0 {
        if known.block == block {
            known.output = output;
        }
        return None;
    }
    if !is_filled(known.len, block) || !aead::is_first(first)? {
        return None;
    }
    let bound = aead::bound(known.hash_key)?;
    aead::deliver(&bound, known.content, direction::WRITE, input, known.len, told.target())
}

/// Whether only zeros fill the rest of the block behind `len` bytes (1 to 15).
#[inline(always)]
fn is_filled(len: u32, block: [u64; 2]) -> bool {
    let (word, filling) = if len >= 8 { (block[1], 0) } else { (block[0], block[1]) };
    u64::from_le(word) >> ((len & 7) * 8) == 0 && filling == 0
}

/// A block was encrypted or decrypted.
#[inline(always)]
fn counted(ctx: &ProbeContext) -> Option<()> {
    let pieces = AEAD_PIECES.get_ptr_mut(&bpf_get_current_pid_tgid())?;
    // SAFETY: the entry stays valid for this run, and only this thread writes it.
    let known = unsafe { &mut *pieces };
    let output = core::mem::replace(&mut known.output, 0);
    if output == 0 {
        return None;
    }
    let bound = aead::bound(known.hash_key)?;
    aead::deliver(&bound, known.content, direction::READ, output, known.len, Told::of(ctx).target())
}
