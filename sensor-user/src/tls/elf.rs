//! The TLS functions that an executable or library exports.
//!
//! Only defined function symbols of the dynamic or the ordinary symbol table count: their addresses are
//! entry points by the linker's word, so no probe can land inside an instruction. A process may make its
//! first request some milliseconds after exec, so the tables are read whole and nothing else is.

use std::{fs::File, os::unix::fs::FileExt as _};

use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSegment as _,
    elf::{SHN_UNDEF, STT_FUNC, Sym64},
    pod::slice_from_all_bytes,
    read::{ReadCache, StringTable},
};
use thiserror::Error;

use crate::bpf::Function;

/// Largest file looked at, bytes. Agents that are single executables reach 250 MB.
const MAX_FILE: u64 = 1 << 30;
/// Largest symbol or string table read, bytes.
const MAX_TABLE: u64 = 256 << 20;

/// Functions that carry plaintext: name, reads, stores its count through the fourth argument.
const FUNCTIONS: [(&str, bool, bool); 4] = [
    ("SSL_write", false, false),
    ("SSL_write_ex", false, true),
    ("SSL_read", true, false),
    ("SSL_read_ex", true, true),
];
/// Symbol and string table pairs, in the order in which they are tried: exported symbols are few.
const TABLES: [(&str, &str); 2] = [(".dynsym", ".dynstr"), (".symtab", ".strtab")];

type Elf<'data> = object::File<'data, &'data ReadCache<&'data File>>;

/// Why a file has no answer.
#[derive(Debug, Error)]
pub enum ElfError {
    /// Not an ELF file of this machine, or a broken one.
    #[error("not a readable ELF file: {0}")]
    Object(#[from] object::Error),
    /// A table is broken.
    #[error("symbol table {0} is malformed")]
    Table(&'static str),
    /// Too large to look at.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// File or table.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The TLS functions in `file`, by offset; empty when it exports none that are complete (a file that
/// only writes or only reads is no TLS library).
pub fn functions(file: &File) -> Result<Vec<Function>, ElfError> {
    within("file", file.metadata()?.len(), MAX_FILE)?;
    let cache = ReadCache::new(file);
    let object = Elf::parse(&cache)?;
    if !object.is_64() || !object.is_little_endian() {
        return Ok(Vec::new());
    }
    for (symbols, strings) in TABLES {
        let found = find(&object, file, symbols, strings)?;
        if found.iter().any(|function| function.reads) && found.iter().any(|function| !function.reads) {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

fn find(
    object: &Elf<'_>,
    file: &File,
    symbols: &'static str,
    strings: &'static str,
) -> Result<Vec<Function>, ElfError> {
    let (Some(table), Some(names)) = (section(object, file, symbols)?, section(object, file, strings)?)
    else {
        return Ok(Vec::new());
    };
    // A name in the table is the name or its tail; a file without the texts needs no second look.
    if position(&names).is_none() {
        return Ok(Vec::new());
    }
    let names = StringTable::new(names.as_slice(), 0, names.len() as u64);
    let symbols: &[Sym64<Endianness>] =
        slice_from_all_bytes(&table).map_err(|()| ElfError::Table(symbols))?;
    let mut found: Vec<Function> = Vec::new();
    for symbol in symbols {
        let endian = Endianness::Little;
        if symbol.st_info & 0xf != STT_FUNC || symbol.st_shndx.get(endian) == SHN_UNDEF {
            continue;
        }
        let Ok(name) = names.get(symbol.st_name.get(endian)) else { continue };
        let known = FUNCTIONS.iter().find(|(known, ..)| known.as_bytes() == name);
        let Some((_, reads, counts)) = known else { continue };
        let Some(offset) = file_offset(object, symbol.st_value.get(endian)) else { continue };
        if !found.iter().any(|function| function.offset == offset) {
            found.push(Function { offset, reads: *reads, counts: *counts });
        }
    }
    Ok(found)
}

/// Position of the shortest wanted name in a string table.
fn position(names: &[u8]) -> Option<usize> {
    memchr::memmem::find(names, FUNCTIONS[0].0.as_bytes())
}

/// Bytes of a section, read in one go.
fn section(object: &Elf<'_>, file: &File, name: &'static str) -> Result<Option<Vec<u8>>, ElfError> {
    let Some((offset, size)) = object.section_by_name(name).and_then(|section| section.file_range()) else {
        return Ok(None);
    };
    within(name, size, MAX_TABLE)?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Some(bytes))
}

fn within(what: &'static str, size: u64, limit: u64) -> Result<(), ElfError> {
    if size > limit { Err(ElfError::TooLarge { what, size, limit }) } else { Ok(()) }
}

/// File offset of a virtual address, by the loadable segments (the kernel probes file offsets).
fn file_offset(object: &Elf<'_>, address: u64) -> Option<u64> {
    object.segments().find_map(|segment| {
        let inside = address.checked_sub(segment.address())?;
        let (offset, length) = segment.file_range();
        (inside < length).then(|| offset + inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_tls_functions_has_none_and_text_is_refused() {
        let own = File::open("/proc/self/exe").unwrap();
        assert!(functions(&own).unwrap().is_empty());
        let text = File::open("/proc/self/status").unwrap();
        assert!(matches!(functions(&text), Err(ElfError::Object(_))));
    }
}
