//! AES-GCM with AES-NI and AVX (crypto/modes/asm/aesni-gcm-x86_64.pl): processors without VAES, and libraries
//! that do not know it.
//!
//! The module leaves its name right behind its constants, and two functions that take their address:
//! `aesni_gcm_encrypt` works on 0x120 bytes and more, `aesni_gcm_decrypt` on 0x60 and more; both are called for
//! shorter records, too. They do whole groups of blocks; their caller does the rest, so results are taken
//! where the caller returns.

use super::Code;
use crate::{Abi, Function, Role, code};

/// The module's name.
pub(super) const NAME: &[u8] = b"AES-NI GCM module for x86_64, CRYPTOGAMS";
/// Bytes of constants before the name.
const CONSTANTS: u64 = 0x80;
/// Longest way from a reference back to the entry, bytes.
const MAX_BACK: u64 = 0x100;
/// What the entry compares the length with, by direction.
const LIMITS: [(u64, Role); 2] = [(0x120, Role::Write), (0x60, Role::Read)];
/// Instructions from the entry to that comparison.
const STEPS: usize = 8;

/// Addresses of constants before a name.
pub(super) fn constants(name: u64) -> Vec<u64> {
    (name.saturating_sub(CONSTANTS)..name).filter(|address| address % 16 == 0).collect()
}

pub(super) fn functions(read: &Code<'_>, names: &[u64]) -> Vec<Function> {
    let elf = read.elf;
    let constants: Vec<u64> = names.iter().flat_map(|name| constants(*name)).collect();
    let called = read.called_before(&constants, MAX_BACK);
    let role = |start| {
        let compared = code::compared_length(&code::reached(elf, start, STEPS));
        LIMITS.iter().find(|(limit, _)| Some(*limit) == compared).map(|(_, role)| *role)
    };
    let found = called
        .iter()
        .filter_map(|(start, calls)| super::with_callers(elf, *start, calls, role(*start)?, Abi::Aead));
    found.collect()
}
