//! Where the functions of TLS libraries are in an ELF file.
//!
//! Bytes of a file in, probe sites out; no I/O of its own, no clock. The tiers, best first: exported and
//! local symbols, function names that OpenSSL 3 keeps for its error messages, error sites of BoringSSL,
//! Go's table of functions, and the constants of AES-GCM and ChaCha20-Poly1305 below libraries that keep
//! none of these. Each answer says by which method it was found. Every site is an
//! instruction boundary: an entry by the linker's word, or proven by disassembly from the start of its
//! function. What is not recognised is not guessed.
//!
//! Memory is bounded by the size of the largest table read ([`MAX_TABLE`]), time by the size of the file.

#![forbid(unsafe_code)]

mod aead;
mod boringssl;
mod code;
mod elf;
mod function;
mod golang;
mod needed;
mod openssl;
mod scan;
mod symbols;
mod unwind;

#[cfg(test)]
mod tests;

pub use elf::{Bytes, Elf, Unreadable};
pub use function::{Abi, Count, Function, Library, Method, Role};
pub use needed::{Needed, needed};

/// What the locators answer for the same bytes; raised when that changes, so that kept answers are not used.
pub const REVISION: u32 = 4;

/// Largest symbol, string or function table read, bytes.
pub const MAX_TABLE: u64 = 256 << 20;

/// What a file has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// TLS functions; empty when none are recognised. Never only one direction: a file that only writes
    /// or only reads is no TLS library.
    pub functions: Vec<Function>,
}

/// The answer of the symbol tables alone, which costs little for most files.
pub fn by_symbols(elf: &Elf<'_>) -> Result<Located, Unreadable> {
    complete(symbols::functions(elf)?)
}

/// The answer of the symbols that were moved to `debug`, which must be the file's own by its build id.
pub fn by_debug_file(elf: &Elf<'_>, debug: &Elf<'_>) -> Result<Located, Unreadable> {
    let build_id = elf.build_id();
    if build_id.is_empty() || debug.build_id() != build_id {
        return Ok(Located::default());
    }
    complete(symbols::of_debug_file(elf, debug)?)
}

/// The answer of every tier. Reads the whole code of the file when symbols do not answer.
pub fn locate(elf: &Elf<'_>) -> Result<Located, Unreadable> {
    let mut found = library(elf)?;
    // Whoever implements TLS besides the libraries found is read below: rustls in a program that has OpenSSL, too.
    if aead::implementations(elf) > copies(&found.functions) {
        found.functions.extend(complete(aead::functions(elf)?)?.functions);
    }
    Ok(found)
}

/// How many copies of a TLS library `functions` are of. Only of BoringSSL are all found; symbols have one, with a
/// function for each way to write.
fn copies(functions: &[Function]) -> usize {
    let of_boringssl = |one: &&Function| (one.role, one.method) == (Role::Write, Method::ErrorSites);
    functions.iter().filter(of_boringssl).count().max(usize::from(!functions.is_empty()))
}

/// The functions of a TLS library.
fn library(elf: &Elf<'_>) -> Result<Located, Unreadable> {
    let named = by_symbols(elf)?;
    if named.functions.iter().all(|function| function.library != Library::OpenSsl)
        && !named.functions.is_empty()
    {
        return Ok(named);
    }
    let inner = complete(openssl::functions(elf)?)?;
    if !inner.functions.is_empty() {
        return Ok(inner);
    }
    if !named.functions.is_empty() {
        return Ok(named);
    }
    for tier in [golang::functions, boringssl::functions] {
        let found = complete(tier(elf)?)?;
        if !found.functions.is_empty() {
            return Ok(found);
        }
    }
    Ok(Located::default())
}

fn complete(functions: Vec<Function>) -> Result<Located, Unreadable> {
    let both = [Role::Read, Role::Write].into_iter().all(|role| functions.iter().any(|one| one.role == role));
    Ok(Located { functions: if both { functions } else { Vec::new() } })
}
