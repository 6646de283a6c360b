//! AES-GCM of AWS-LC for processors with VAES and AVX-512 (crypto/fipsmodule/modes/asm/aesni-gcm-avx512.pl).
//!
//! Among the constants is a table of sixteen masks whose address is taken soon after the entries of
//! `aes_gcm_encrypt_avx512` and `aes_gcm_decrypt_avx512`, which work on whole records, short ones too:
//! (key schedule, state, count, input, length, output).

use super::Code;
use crate::{Abi, Function, Role, code};

/// `byte_len_to_mask_table` without its first entry, 0: masks of 1 to 16 bytes.
pub(super) const MASKS: [u8; 32] = masks();
/// Bytes of the entry before.
const FIRST: u64 = 2;
/// Longest way from a reference back to the entry, bytes.
const MAX_BACK: u64 = 0x100;
/// Instructions from the entry to the first reference on every way.
const STEPS: usize = 64;

const fn masks() -> [u8; 32] {
    let mut all = [0; 32];
    let mut bytes = 1;
    while bytes <= 16 {
        let [low, high] = (((1u32 << bytes) - 1) as u16).to_le_bytes();
        all[2 * (bytes - 1)] = low;
        all[2 * (bytes - 1) + 1] = high;
        bytes += 1;
    }
    all
}

pub(super) fn constants(anchor: u64) -> Vec<u64> {
    vec![anchor.saturating_sub(FIRST)]
}

pub(super) fn functions(read: &Code<'_>, anchors: &[u64]) -> Vec<Function> {
    let elf = read.elf;
    let mut found = Vec::new();
    for table in anchors.iter().flat_map(|anchor| constants(*anchor)) {
        let called = read.called_before(&[table], MAX_BACK);
        let works = |start: u64| {
            let code = code::reached(elf, start, STEPS);
            code::key_schedule(&code) == Some(iced_x86::Register::RDI) && code::refers(&code, table)
        };
        let fit: Vec<_> = called.into_iter().filter(|(start, _)| works(*start)).collect();
        // The module has them in this order, and linkers keep modules whole. The wire proves it: a record
        // counts only when its ciphertext is seen to leave or arrive.
        let [(seal, sealing), (open, opening)] = fit.as_slice() else { continue };
        found.extend(super::with_callers(elf, *seal, sealing, Role::Write, Abi::AeadState));
        found.extend(super::with_callers(elf, *open, opening, Role::Read, Abi::AeadState));
    }
    found
}
