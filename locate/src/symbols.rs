//! Functions by name: the dynamic and the ordinary symbol table.
//!
//! Only defined function symbols count: their addresses are entries by the linker's word.

use crate::{
    Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code,
    elf::{u16_at, u32_at, u64_at},
    unwind::Unwind,
};

/// Functions that carry plaintext. All take TLS object, buffer and length first.
const FUNCTIONS: [(&str, Library, Role, Count); 10] = [
    ("SSL_write", Library::OpenSsl, Role::Write, Count::Returned),
    ("SSL_write_ex", Library::OpenSsl, Role::Write, Count::Through(3)),
    ("SSL_write_ex2", Library::OpenSsl, Role::Write, Count::Through(4)),
    ("SSL_read", Library::OpenSsl, Role::Read, Count::Returned),
    ("SSL_read_ex", Library::OpenSsl, Role::Read, Count::Through(3)),
    ("gnutls_record_send", Library::GnuTls, Role::Write, Count::Returned),
    ("gnutls_record_send2", Library::GnuTls, Role::Write, Count::Returned),
    ("gnutls_record_recv", Library::GnuTls, Role::Read, Count::Returned),
    ("mbedtls_ssl_write", Library::MbedTls, Role::Write, Count::Returned),
    ("mbedtls_ssl_read", Library::MbedTls, Role::Read, Count::Returned),
];
/// The shortest names that all names of a library contain; a file without them needs no second look.
const MARKS: [&[u8]; 3] = [b"SSL_write\0", b"gnutls_record_send\0", b"mbedtls_ssl_write\0"];
/// Symbol and string table pairs, in the order in which they are tried: exported symbols are few.
const TABLES: [(&str, &str, Method); 2] =
    [(".dynsym", ".dynstr", Method::Exported), (".symtab", ".strtab", Method::LocalSymbol)];

const SYMBOL: usize = 24;
const STT_FUNC: u8 = 2;
const SHN_UNDEF: u16 = 0;

/// The functions of the first table in the file itself that has both directions.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    for (symbols, strings, method) in TABLES {
        let found = table(elf, elf, [symbols, strings], method)?;
        if found.iter().any(|one| one.role == Role::Read) && found.iter().any(|one| one.role == Role::Write) {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The functions that the file's separate debug file names.
pub(crate) fn of_debug_file(elf: &Elf<'_>, debug: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    table(elf, debug, [".symtab", ".strtab"], Method::DebugFile)
}

/// Functions in `elf` by a symbol table of `from`.
fn table(
    elf: &Elf<'_>,
    from: &Elf<'_>,
    [symbols, strings]: [&'static str; 2],
    method: Method,
) -> Result<Vec<Function>, Unreadable> {
    let Some(names) = from.contents(strings)? else { return Ok(Vec::new()) };
    // A name in the table is the name or its tail.
    if !MARKS.iter().any(|mark| contains(&names, mark)) {
        return Ok(Vec::new());
    }
    let Some(table) = from.contents(symbols)? else { return Ok(Vec::new()) };
    let unwind = Unwind::of(elf);
    let mut found: Vec<Function> = Vec::new();
    for symbol in table.chunks_exact(SYMBOL) {
        let (Some(name), Some(address)) = (u32_at(symbol, 0), u64_at(symbol, 8)) else { continue };
        if symbol[4] & 0xf != STT_FUNC || u16_at(symbol, 6).is_none_or(|section| section == SHN_UNDEF) {
            continue;
        }
        let Some(name) = names.get(name as usize..) else { continue };
        let known = FUNCTIONS.iter().find(|(known, ..)| {
            name.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
        });
        let Some((_, library, role, count)) = known else { continue };
        // A symbol that points into a function is damaged or made up.
        let starts = unwind.as_ref().and_then(|unwind| unwind.starts_at(address));
        if starts == Some(false) || !code::is_in_step(elf, address) {
            continue;
        }
        let Some(entry) = elf.code_offset(code::cheap_site(elf, address)) else { continue };
        if !found.iter().any(|function| function.entry == entry) {
            let (role, count, library) = (*role, *count, *library);
            found.push(Function { entry, returns: Vec::new(), role, count, abi: Abi::C, library, method });
        }
    }
    Ok(found)
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
