//! OpenSSL 3 without symbols: `ERR_raise` leaves the name of its function in the file.
//!
//! `SSL_write`, `SSL_write_ex` and `SSL_write_ex2` all go through `ssl_write_internal` (ssl/ssl_lib.c), and
//! the reading ones through `ssl_read_internal`; peeking has its own. One probe there serves all of
//! them, and its entry is often cheaper than theirs.

use std::ops::Range;

use iced_x86::{Instruction, Register};

use crate::{Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code, scan, unwind::Unwind};

/// Names that are searched for, with the end of the text: the two inner functions, then the plain ones.
const NAMES: [(&[u8], Role, Count); 4] = [
    (b"ssl_write_internal\0", Role::Write, Count::Through(3)),
    (b"ssl_read_internal\0", Role::Read, Count::Through(3)),
    (b"SSL_write\0", Role::Write, Count::Returned),
    (b"SSL_read\0", Role::Read, Count::Returned),
];

/// How the path of the source file ends.
const SOURCE: &[u8] = b"ssl_lib.c";
/// Longest path, bytes.
const MAX_PATH: u64 = 256;
/// Instructions around the name that set the other arguments of `ERR_set_debug`.
const AROUND: usize = 4;

/// A function with a name, and what it is made of.
struct Named {
    range: Range<u64>,
    code: Vec<Instruction>,
}

/// The inner functions, or the plain ones where the inner are not functions of their own.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    if !elf.is_x86_64() {
        return Ok(Vec::new());
    }
    let Some(unwind) = Unwind::of(elf) else { return Ok(Vec::new()) };
    let texts = scan::texts(elf, &NAMES.map(|(name, ..)| name));
    // Without both inner names it is no OpenSSL 3.
    if texts.iter().take(2).any(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let references = scan::references(elf, &texts.concat());
    let users = |targets: &Vec<u64>| users(elf, &unwind, &references, targets);
    let named: Vec<Vec<Named>> = texts.iter().map(users).collect();
    let inner = pick(elf, &named, [0, 1]);
    Ok(if inner.len() == 2 { inner } else { pick(elf, &named, [2, 3]) })
}

/// The functions around one of `references` whose code takes the address of one of `targets`.
fn users(elf: &Elf<'_>, unwind: &Unwind<'_>, references: &[u64], targets: &[u64]) -> Vec<Named> {
    let mut found: Vec<Named> = Vec::new();
    for reference in references {
        let Some(range) = unwind.around(*reference) else { continue };
        if found.iter().any(|known| known.range == range) {
            continue;
        }
        let Some(code) = code::instructions(elf, &range) else { continue };
        if (0..code.len()).any(|at| is_error_site(elf, &code, at, targets)) {
            found.push(Named { range, code });
        }
    }
    found
}

/// Whether the instruction sets one of `targets` as the third argument, beside the source file's path as the
/// first and a line as the second: `ERR_set_debug(file, line, function)`.
fn is_error_site(elf: &Elf<'_>, code: &[Instruction], at: usize, targets: &[u64]) -> bool {
    let named = |one: &Instruction| targets.iter().find_map(|target| code::names(one, *target));
    if code.get(at).and_then(named) != Some(Register::RDX) {
        return false;
    }
    let around = code.get(at.saturating_sub(AROUND)..code.len().min(at + AROUND)).unwrap_or_default();
    let line = around.iter().filter_map(code::constant).any(|(register, _)| register == Register::RSI);
    line && around.iter().any(|one| {
        code::address(one).is_some_and(|(register, path)| register == Register::RDI && is_source(elf, path))
    })
}

fn is_source(elf: &Elf<'_>, path: u64) -> bool {
    let text = elf.at_address(path, MAX_PATH).unwrap_or_default();
    text.split(|byte| *byte == 0).next().is_some_and(|path| path.ends_with(SOURCE))
}

/// One function for each of two names, if each has exactly one user that is called directly: a part that
/// was split off a function is only jumped to.
fn pick(elf: &Elf<'_>, named: &[Vec<Named>], wanted: [usize; 2]) -> Vec<Function> {
    let mut found = Vec::new();
    for index in wanted {
        let (Some([one]), Some((_, role, count))) = (named.get(index).map(Vec::as_slice), NAMES.get(index))
        else {
            return Vec::new();
        };
        let called = named.iter().flatten().any(|other| {
            other.code.iter().any(|call| call.is_call_near() && call.near_branch_target() == one.range.start)
        });
        let start = one.range.start;
        if !called && !scan::is_called(elf, start) {
            return Vec::new();
        }
        let count = match count {
            Count::Returned => Count::Returned,
            // Since 3.3 the writing one has flags before the pointer to the count.
            Count::Through(_) if code::takes(&one.code, Register::R8) => Count::Through(4),
            Count::Through(_) if code::takes(&one.code, Register::RCX) => Count::Through(3),
            Count::Through(_) => return Vec::new(),
        };
        let Some(entry) = elf.code_offset(code::cheap_site(elf, start)) else { return Vec::new() };
        found.push(Function {
            entry,
            returns: Vec::new(),
            role: *role,
            count,
            abi: Abi::C,
            library: Library::OpenSsl,
            method: Method::NameAnchor,
        });
    }
    found
}
