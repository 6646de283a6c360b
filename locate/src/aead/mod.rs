//! The AEAD layer: AES-GCM of every library that descends from CRYPTOGAMS (OpenSSL, BoringSSL, AWS-LC, ring).
//!
//! Their assembly modules keep constants that name them, and functions that refer to these; which one runs
//! depends on the processor, so the functions of every module and of every copy of it are given. The sizes
//! and orders of arguments are fixed by the C code above them. Only files that implement TLS 1.3 themselves
//! are read this way.

mod aesni;
mod avx512;
mod vaes;

use std::collections::BTreeMap;

use crate::{Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code, scan};

/// Label of a TLS 1.3 key (RFC 8446 7.1).
const LABEL: &[u8] = b"c ap traffic";

/// An assembly module.
struct Module {
    /// Bytes among its constants that no other code has.
    anchor: &'static [u8],
    /// Finds its functions by the addresses of these bytes.
    functions: fn(&Elf<'_>, &[u64]) -> Vec<Function>,
}

const MODULES: [Module; 3] = [
    Module { anchor: aesni::NAME, functions: aesni::functions },
    Module { anchor: &avx512::MASKS, functions: avx512::functions },
    Module { anchor: &vaes::CONSTANTS, functions: vaes::functions },
];

/// The encrypting and decrypting functions of every copy of every module.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    if !elf.is_x86_64() {
        return Ok(Vec::new());
    }
    let mut needles = vec![LABEL];
    needles.extend(MODULES.iter().map(|module| module.anchor));
    let mut texts = scan::texts(elf, &needles);
    let anchors = texts.split_off(1);
    if texts.concat().is_empty() {
        return Ok(Vec::new());
    }
    let of = |(module, anchors): (&Module, Vec<u64>)| (module.functions)(elf, &anchors);
    Ok(MODULES.iter().zip(anchors).flat_map(of).collect())
}

/// Functions that are called and begin at most `back` bytes before one of `references`: start and calls.
fn called_before(elf: &Elf<'_>, references: &[u64], back: u64) -> BTreeMap<u64, Vec<u64>> {
    let ranges: Vec<_> = references.iter().map(|at| at.saturating_sub(back)..*at).collect();
    let mut found = BTreeMap::<u64, Vec<u64>>::new();
    for (call, start) in scan::calls_into(elf, &ranges) {
        found.entry(start).or_default().push(call);
    }
    found
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
