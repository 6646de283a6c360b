//! The AEAD layer: AES-GCM of every library that descends from CRYPTOGAMS (OpenSSL, BoringSSL, AWS-LC, ring).
//!
//! The module leaves its name in the file, right behind its constants, and two functions that take their
//! address: `aesni_gcm_encrypt` works on 0x120 bytes and more, `aesni_gcm_decrypt` on 0x60 and more
//! (crypto/modes/asm/aesni-gcm-x86_64.pl); both are called for shorter records, too. They do whole groups of
//! blocks; their caller does the rest, so results are taken where the caller returns. A file may hold
//! several copies. Only files that implement TLS 1.3 themselves are read this way.

use crate::{Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code, scan};

/// The module's name.
const NAME: &[u8] = b"AES-NI GCM module for x86_64, CRYPTOGAMS";
/// Label of a TLS 1.3 key (RFC 8446 7.1).
const LABEL: &[u8] = b"c ap traffic";
/// Bytes of constants before the name.
const CONSTANTS: u64 = 0x80;
/// Longest way from a reference back to the entry, bytes.
const MAX_BACK: u64 = 0x100;
/// What the entry compares the length with, by direction.
const LIMITS: [(u64, Role); 2] = [(0x120, Role::Write), (0x60, Role::Read)];
/// Instructions from the entry to that comparison.
const STEPS: usize = 8;

/// The encrypting and decrypting functions of every copy.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    if !elf.is_x86_64() {
        return Ok(Vec::new());
    }
    let mut texts = scan::texts(elf, &[LABEL, NAME]);
    let (names, labels) = (texts.pop().unwrap_or_default(), texts.pop().unwrap_or_default());
    if labels.is_empty() || names.is_empty() {
        return Ok(Vec::new());
    }
    let constants = names.iter().flat_map(|name| name.saturating_sub(CONSTANTS)..*name);
    let targets: Vec<u64> = constants.filter(|address| address % 16 == 0).collect();
    let references = scan::references(elf, &targets);
    let back: Vec<_> = references.iter().map(|at| at.saturating_sub(MAX_BACK)..*at).collect();
    let mut found: Vec<Function> = Vec::new();
    for (call, start) in scan::calls_into(elf, &back) {
        let compared = code::compared_length(elf, start, STEPS);
        let Some((_, role)) = LIMITS.iter().find(|(limit, _)| Some(*limit) == compared) else { continue };
        let (Some(entry), Some(returns)) =
            (elf.code_offset(code::cheap_site(elf, start)), code::returns_after(elf, call))
        else {
            continue;
        };
        let offsets = returns.into_iter().filter_map(|address| elf.code_offset(address));
        match found.iter_mut().find(|one| one.entry == entry) {
            Some(known) => known.returns.extend(offsets),
            None => found.push(Function {
                entry,
                returns: offsets.collect(),
                role: *role,
                count: Count::Returned,
                abi: Abi::Aead,
                library: Library::AesGcm,
                method: Method::AeadConstants,
            }),
        }
    }
    for one in &mut found {
        one.returns.sort_unstable();
        one.returns.dedup();
    }
    Ok(found)
}
