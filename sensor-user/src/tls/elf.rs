//! The TLS functions that an executable or library exports.
//!
//! Only defined function symbols of the dynamic or the ordinary symbol table count: their addresses are
//! entry points by the linker's word, so no probe can land inside an instruction.

use std::fs::File;

use object::{
    Object as _, ObjectSegment as _, SymbolKind,
    read::ReadCache,
};
use thiserror::Error;

use crate::bpf::Function;

/// Largest file looked at, bytes. Agents that are single executables reach 250 MB.
const MAX_FILE: u64 = 1 << 30;
/// Symbols looked at in one file.
const MAX_SYMBOLS: usize = 2_000_000;

/// Functions that carry plaintext: name, reads, stores its count through the fourth argument.
const FUNCTIONS: [(&str, bool, bool); 4] = [
    ("SSL_write", false, false),
    ("SSL_write_ex", false, true),
    ("SSL_read", true, false),
    ("SSL_read_ex", true, true),
];

/// Why a file has no answer.
#[derive(Debug, Error)]
pub enum ElfError {
    /// Not an ELF file of this machine, or a broken one.
    #[error("not a readable ELF file: {0}")]
    Object(#[from] object::Error),
    /// Too large to look at.
    #[error("file of {0} bytes is over the limit of {MAX_FILE}")]
    TooLarge(u64),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The TLS functions in `file`, by offset; empty when it exports none that are complete (a file that
/// only writes or only reads is no TLS library).
pub fn functions(file: &File) -> Result<Vec<Function>, ElfError> {
    let size = file.metadata()?.len();
    if size > MAX_FILE {
        return Err(ElfError::TooLarge(size));
    }
    let cache = ReadCache::new(file);
    let object = object::File::parse(&cache)?;
    let found = find(&object, object.dynamic_symbols());
    let found = if found.is_empty() { find(&object, object.symbols()) } else { found };
    let whole = found.iter().any(|f| f.reads) && found.iter().any(|f| !f.reads);
    Ok(if whole { found } else { Vec::new() })
}

fn find<'data, S: object::ObjectSymbol<'data>>(
    object: &object::File<'data, &'data ReadCache<&File>>,
    symbols: impl Iterator<Item = S>,
) -> Vec<Function> {
    let mut found: Vec<Function> = Vec::new();
    for symbol in symbols.take(MAX_SYMBOLS) {
        if symbol.kind() != SymbolKind::Text || !symbol.is_definition() {
            continue;
        }
        let Ok(name) = symbol.name() else { continue };
        let Some((_, reads, counts)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else { continue };
        let Some(offset) = file_offset(object, symbol.address()) else { continue };
        if !found.iter().any(|function| function.offset == offset) {
            found.push(Function { offset, reads: *reads, counts: *counts });
        }
    }
    found
}

/// File offset of a virtual address, by the loadable segments (the kernel probes file offsets).
fn file_offset<'data>(
    object: &object::File<'data, &'data ReadCache<&File>>,
    address: u64,
) -> Option<u64> {
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
