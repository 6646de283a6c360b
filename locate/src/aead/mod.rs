//! The AEAD layer: AES-GCM and ChaCha20-Poly1305 of every library that descends from CRYPTOGAMS (OpenSSL, BoringSSL,
//! AWS-LC, ring).
//!
//! Their assembly modules keep constants that name them, and functions that refer to these; which one runs
//! depends on the processor, so the functions of every module and of every copy of it are given. The sizes
//! and orders of arguments are fixed by the C code above them. Only files that implement TLS 1.3 more often than
//! they have libraries with known functions are read this way.

mod aesni;
mod avx512;
mod chacha;
mod vaes;

use std::collections::BTreeMap;

use crate::{Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code, scan};

/// Label of a TLS 1.3 key (RFC 8446 7.1).
const LABEL: &[u8] = b"c ap traffic";
/// Longest way from a reference to a constant back to the entry of its function, bytes: that in the module of AES, where
/// another function refers to the constants.
const MAX_BACK: u64 = 0x1000;

/// An assembly module.
struct Module {
    /// Bytes among its constants that no other code has.
    anchor: &'static [u8],
    /// Addresses that its functions may refer to, by the address of these bytes.
    constants: fn(u64) -> Vec<u64>,
    /// Finds its functions by the addresses of these bytes.
    functions: fn(&Code<'_>, &[u64]) -> Vec<Function>,
}

const MODULES: [Module; 5] = [
    Module { anchor: aesni::NAME, constants: aesni::constants, functions: aesni::functions },
    Module { anchor: &avx512::MASKS, constants: avx512::constants, functions: avx512::functions },
    Module { anchor: &vaes::CONSTANTS, constants: vaes::constants, functions: vaes::functions },
    // It counts only beside the one before.
    Module { anchor: vaes::AES, constants: aesni::constants, functions: vaes::counters },
    Module { anchor: &chacha::CLAMP, constants: chacha::constants, functions: chacha::functions },
];

/// What the modules are found by: the code is read once for all of them.
struct Code<'a> {
    elf: &'a Elf<'a>,
    /// Near where an instruction has a constant of a module as operand, and which.
    references: Vec<(u64, u64)>,
    /// Calls, and the addresses not long before a reference that they lead to.
    calls: Vec<(u64, u64)>,
}

/// How often the file implements TLS 1.3; 0 where nothing can be found.
pub(crate) fn implementations(elf: &Elf<'_>) -> usize {
    if elf.is_x86_64() { scan::texts(elf, &[LABEL]).concat().len() } else { 0 }
}

/// The encrypting and decrypting functions of every copy of every module.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    let anchors = scan::texts(elf, &MODULES.map(|module| module.anchor));
    let all = || MODULES.iter().zip(&anchors);
    let constants: Vec<u64> = all()
        .flat_map(|(module, anchors)| anchors.iter().flat_map(|anchor| (module.constants)(*anchor)))
        .collect();
    let references = scan::operands(elf, &constants);
    let before: Vec<_> = references.iter().map(|(at, _)| at.saturating_sub(MAX_BACK)..*at).collect();
    let code = Code { elf, calls: scan::calls_into(elf, &before), references };
    let found: Vec<Function> =
        all().flat_map(|(module, anchors)| (module.functions)(&code, anchors)).collect();
    let in_pieces = found.iter().any(|one| one.abi == Abi::GcmHash);
    Ok(found.into_iter().filter(|one| in_pieces || one.abi != Abi::Counter).collect())
}

impl Code<'_> {
    /// Functions that are called and begin at most `back` bytes before a reference to one of `constants`: start and
    /// calls.
    fn called_before(&self, constants: &[u64], back: u64) -> BTreeMap<u64, Vec<u64>> {
        let own = self.references.iter().filter(|(_, constant)| constants.contains(constant));
        let before: Vec<_> = own.map(|(at, _)| at.saturating_sub(back)..*at).collect();
        let mut found = BTreeMap::<u64, Vec<u64>>::new();
        for (call, start) in &self.calls {
            if before.iter().any(|range| range.contains(start)) {
                found.entry(*start).or_default().push(*call);
            }
        }
        found
    }
}

/// A function at `start` that is probed at `returns`, too.
fn function(elf: &Elf<'_>, start: u64, returns: &[u64], role: Role, abi: Abi) -> Option<Function> {
    let mut returns: Vec<u64> = returns.iter().filter_map(|address| elf.code_offset(*address)).collect();
    returns.sort_unstable();
    returns.dedup();
    Some(Function {
        entry: elf.code_offset(code::cheap_site(elf, start))?,
        returns,
        role,
        count: Count::Returned,
        abi,
        library: Library::AesGcm,
        method: Method::AeadConstants,
    })
}

/// The same, probed where its callers return, if that is known of one at least.
fn with_callers(elf: &Elf<'_>, start: u64, calls: &[u64], role: Role, abi: Abi) -> Option<Function> {
    let returns: Vec<u64> =
        calls.iter().filter_map(|call| code::returns_after(elf, *call)).flatten().collect();
    (!returns.is_empty()).then(|| function(elf, start, &returns, role, abi))?
}
