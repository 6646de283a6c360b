//! Go's crypto/tls, by the function table of its runtime (`pclntab`), which every Go program carries,
//! stripped or not (runtime/symtab.go; header `pcHeader`, rows `functab`, names by `_func.nameOff`).

use std::ops::Range;

use iced_x86::Register;

use crate::{
    Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code,
    elf::{u32_at, u64_at, within},
};

/// The functions: all of HTTP goes through them.
const FUNCTIONS: [(&[u8], Role); 2] =
    [(b"crypto/tls.(*Conn).Write\0", Role::Write), (b"crypto/tls.(*Conn).Read\0", Role::Read)];
/// Functions in a table.
const MAX_FUNCTIONS: u64 = 4 << 20;
/// Where linkers put the table.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Where it is among other things, when a C linker has the last word and Go is older than 1.26.
const AMONG_OTHERS: &str = ".data.rel.ro";
/// What every Go program has.
const BUILD_INFO: &str = ".go.buildinfo";
/// What the table is aligned to, bytes.
const ALIGNED: usize = 32;
/// How the header goes on behind its first word: instructions of one byte, pointers of eight.
const HEADER: [u8; 4] = [0, 0, 1, 8];
/// Where `moduledata` is since Go 1.26, and in it the start of the code (runtime/symtab.go).
const MODULE: &str = ".go.module";
const MODULE_TEXT: u64 = 176;
/// Instructions in which the entry compares the stack with its limit.
const PROLOGUE: usize = 4;
/// `R_X86_64_RELATIVE`.
const RELATIVE: u64 = 8;
/// Size of a relocation, bytes.
const RELOCATION: usize = 24;

/// Versions of the table since arguments are in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Go 1.16 and 1.17: rows are addresses.
    Go116,
    /// Since 1.18: rows are offsets from the start of the code.
    Go118,
}

/// `Read` and `Write` of a TLS connection.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    if !elf.is_x86_64() {
        return Ok(Vec::new());
    }
    let own = SECTIONS.iter().find_map(|name| elf.section(name));
    let among = || elf.section(BUILD_INFO).and_then(|_| elf.section(AMONG_OTHERS));
    let Some(section) = own.or_else(among) else { return Ok(Vec::new()) };
    within("function table", section.size, crate::MAX_TABLE)?;
    let bytes = elf.at_offset(section.offset, section.size).ok_or(Unreadable::Malformed("function table"))?;
    let begins = |at: &usize| bytes.get(*at..).is_some_and(|rest| version(rest).is_some());
    let first = (section.address.wrapping_neg() % ALIGNED as u64) as usize;
    let at = match own {
        Some(_) => Some(0),
        None => (first..bytes.len()).step_by(ALIGNED).find(begins),
    };
    let table = at.and_then(|at| find(elf, section.address + at as u64, bytes.get(at..)?));
    Ok(table.unwrap_or_default())
}

/// The version of the table that begins with `bytes`.
fn version(bytes: &[u8]) -> Option<Version> {
    match u32_at(bytes, 0)? {
        _ if bytes.get(4..8)? != HEADER => None,
        0xffff_fff1 | 0xffff_fff0 => Some(Version::Go118),
        0xffff_fffa => Some(Version::Go116),
        _ => None,
    }
}

/// The functions by the table at `address`.
fn find(elf: &Elf<'_>, address: u64, table: &[u8]) -> Option<Vec<Function>> {
    let version = version(table)?;
    let word = |index: usize| u64_at(table, 8 + index * 8);
    let count = word(0).filter(|count| *count <= MAX_FUNCTIONS)?;
    let (text, names, rows) = match version {
        Version::Go118 => (text(elf, address, word(3)?)?, word(3)?, word(7)?),
        Version::Go116 => (0, word(2)?, word(6)?),
    };
    let rows = table.get(usize::try_from(rows).ok()?..)?;
    let names = table.get(usize::try_from(names).ok()?..)?;
    let width = if version == Version::Go118 { 4 } else { 8 };
    let cell = |index: usize| match version {
        Version::Go118 => u32_at(rows, index * width).map(u64::from),
        Version::Go116 => u64_at(rows, index * width),
    };
    let mut found = Vec::new();
    for row in 0..usize::try_from(count).ok()? {
        let (Some(start), Some(data), Some(end)) = (cell(row * 2), cell(row * 2 + 1), cell(row * 2 + 2))
        else {
            return None;
        };
        // The name stands behind the entry, which is as wide as the row's cells.
        let name = usize::try_from(data).ok().and_then(|data| u32_at(rows, data.checked_add(width)?));
        let Some(name) = name.and_then(|name| names.get(name as usize..)) else { continue };
        let Some((_, role)) = FUNCTIONS.iter().find(|(known, _)| name.starts_with(known)) else { continue };
        let range = text.checked_add(start)?..text.checked_add(end)?;
        found.push(function(elf, range, *role)?);
    }
    Some(found)
}

/// A function whose every way out is known. Go moves stacks, so its returns are probed, never hijacked.
fn function(elf: &Elf<'_>, range: Range<u64>, role: Role) -> Option<Function> {
    let code = code::instructions(elf, &range)?;
    // Before 1.17 arguments were on the stack. Now the goroutine is in r14, and the entry compares the stack
    // with its limit there.
    let registers = code.iter().take(PROLOGUE).any(|one| one.memory_base() == Register::R14);
    let returns = code::returns(&code, &range).filter(|_| registers)?;
    Some(Function {
        entry: elf.code_offset(range.start)?,
        returns: returns.into_iter().map(|address| elf.code_offset(address)).collect::<Option<_>>()?,
        role,
        count: Count::Returned,
        abi: Abi::Go,
        library: Library::Go,
        method: Method::GoTable,
    })
}

/// Where the code begins: until Go 1.25 the table at `table` says it, now the module that names this table and, first of
/// its parts, the names.
fn text(elf: &Elf<'_>, table: u64, names: u64) -> Option<u64> {
    let told = loaded(elf, table.checked_add(24)?)?;
    if told != 0 {
        return Some(told);
    }
    let module = elf.section(MODULE)?.address;
    let is_of_table =
        loaded(elf, module)? == table && loaded(elf, module.checked_add(8)?)? == table.checked_add(names)?;
    is_of_table.then(|| loaded(elf, module.checked_add(MODULE_TEXT)?))?
}

/// The pointer at `address` of a loaded program, less its base.
fn loaded(elf: &Elf<'_>, address: u64) -> Option<u64> {
    relocated(elf, address).or_else(|| u64_at(&elf.at_address(address, 8)?, 0))
}

/// What the dynamic linker will put at `address` of a position-independent program, less its base.
fn relocated(elf: &Elf<'_>, address: u64) -> Option<u64> {
    let relocations = elf.contents(".rela.dyn").ok()??;
    relocations.chunks_exact(RELOCATION).find_map(|row| {
        (u64_at(row, 0)? == address && u64_at(row, 8)? == RELATIVE).then(|| u64_at(row, 16))?
    })
}
