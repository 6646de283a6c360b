//! AES-GCM of ring for processors with VAES and AVX2 (crypto/fipsmodule/aes/asm/aes-gcm-avx2-x86_64.pl).
//!
//! ring cuts a record in pieces. `gcm_ghash_vpclmulqdq_avx2_1` (hash, hash key, block) is called for the
//! additional data, which in TLS 1.3 is the record's header and so tells its length, for an incomplete last
//! block, and for the lengths, which is the end of the record. `aes_gcm_{enc,dec}_update_vaes_avx2` (input,
//! output, length, key schedule, counter, hash key, hash) work on its whole blocks, if there are any. The
//! incomplete block goes through `aes_hw_ctr32_encrypt_blocks` (input, output, blocks, key schedule, counter),
//! which is in the module of AES itself.

use iced_x86::{FlowControl, Instruction, Register};

use super::{Code, aesni};
use crate::{Abi, Function, Role, code};

/// A permutation that turns a block, and twice the polynomial of GHASH: the beginning of the constants.
pub(super) const CONSTANTS: [u8; 48] = [
    15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, //
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc2, //
    1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc2,
];
/// Where among the constants the polynomial is, and the counters that only the two that encrypt and decrypt use.
const POLYNOMIAL: u64 = 16;
const COUNTERS: u64 = 64;
/// Longest way from a reference back to the entry, bytes.
const MAX_BACK: u64 = 0x100;
/// Instructions from an entry to the comparison of the length, and what it is compared with.
const STEPS: usize = 24;
const LENGTH: u64 = 127;
/// The same for the counter mode: one block has a way of its own.
const COUNTER_STEPS: usize = 8;
const ONE_BLOCK: u64 = 1;
/// Most instructions of the function for one block.
const HASH_STEPS: usize = 64;
/// The name that the module of AES leaves behind its constants.
pub(super) const AES: &[u8] = b"AES for Intel AES-NI, CRYPTOGAMS";

pub(super) fn constants(anchor: u64) -> Vec<u64> {
    [POLYNOMIAL, COUNTERS].map(|constant| anchor.wrapping_add(constant)).into()
}

pub(super) fn functions(read: &Code<'_>, anchors: &[u64]) -> Vec<Function> {
    let elf = read.elf;
    let mut found = Vec::new();
    for anchor in anchors {
        let to = |constant: u64| read.called_before(&[anchor.wrapping_add(constant)], MAX_BACK);
        let updates = to(COUNTERS).into_keys().filter(|start| {
            let code = code::reached(elf, *start, STEPS);
            code::compared_length(&code) == Some(LENGTH)
                && code::key_schedule(&code) == Some(Register::RCX)
                && code::refers(&code, anchor.wrapping_add(COUNTERS))
        });
        let hashes = to(POLYNOMIAL).into_keys().filter(|start| {
            let code = code::reached(elf, *start, HASH_STEPS);
            hashes_one_block(&code) && code::refers(&code, anchor.wrapping_add(POLYNOMIAL))
        });
        let (updates, hashes): (Vec<_>, Vec<_>) = (updates.collect(), hashes.collect());
        // The module has them in this order, and linkers keep modules whole. The wire proves it: a record
        // counts only when its ciphertext is seen to leave or arrive.
        let ([seal, open], [hash]) = (updates.as_slice(), hashes.as_slice()) else { continue };
        found.extend(super::function(elf, *seal, &[], Role::Write, Abi::GcmBlocks));
        found.extend(super::function(elf, *open, &[], Role::Read, Abi::GcmBlocks));
        found.extend(super::function(elf, *hash, &[], Role::Both, Abi::GcmHash));
    }
    found
}

/// Straight from the entry to the return, with three arguments.
fn hashes_one_block(code: &[Instruction]) -> bool {
    let Some((last, rest)) = code.split_last() else { return false };
    let straight = rest.iter().all(|one| one.flow_control() == FlowControl::Next);
    let takes = |register| code::takes(code, register);
    straight
        && last.flow_control() == FlowControl::Return
        && [Register::RDI, Register::RSI, Register::RDX].into_iter().all(takes)
        && ![Register::RCX, Register::R8, Register::R9].into_iter().any(takes)
}

/// Counter mode of every copy of the module of AES.
pub(super) fn counters(read: &Code<'_>, names: &[u64]) -> Vec<Function> {
    let elf = read.elf;
    let constants: Vec<u64> = names.iter().flat_map(|name| aesni::constants(*name)).collect();
    let called = read.called_before(&constants, super::MAX_BACK);
    let fit = called.into_keys().filter(|start| {
        let code = code::reached(elf, *start, COUNTER_STEPS);
        code::compared_length(&code) == Some(ONE_BLOCK) && code::key_schedule(&code) == Some(Register::RCX)
    });
    fit.filter_map(|start| {
        super::function(elf, start, &code::returns_from(elf, start)?, Role::Both, Abi::Counter)
    })
    .collect()
}
