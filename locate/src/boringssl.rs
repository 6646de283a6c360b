//! BoringSSL and its relatives without symbols: the error sites of `ssl/ssl_lib.cc`.
//!
//! `OPENSSL_PUT_ERROR` passes library (16 for TLS), reason, the path of the source file and the line. Among
//! the functions of that file only `SSL_write` has the reasons of [`WRITE_REASONS`]; the function with
//! [`NOT_TO_BE_CALLED`] some lines before it is `SSL_peek`, which compilers copy into `SSL_read`. Of these
//! `SSL_read` is the one that moves the start of the pending data on.

use std::{collections::BTreeMap, ops::Range};

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Register};

use crate::{Abi, Count, Elf, Function, Library, Method, Role, Unreadable, code, scan, unwind::Unwind};

/// How the path of the source file ends.
const SOURCE: &[u8] = b"ssl/ssl_lib.cc\0";
/// Longest path before it, bytes.
const MAX_PATH: u64 = 256;
/// `ERR_LIB_SSL`.
const LIBRARY: u32 = 16;
/// `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED`: the connection is a QUIC one.
const NOT_TO_BE_CALLED: u32 = 66;
/// `SSL_R_SSL_HANDSHAKE_FAILURE`, `SSL_R_UNINITIALIZED` and `SSL_R_BAD_LENGTH`, besides.
const WRITE_REASONS: [u32; 4] = [NOT_TO_BE_CALLED, 215, 226, 111];
/// Lines between the checks of `SSL_peek` and `SSL_write` in the source (18 to 22 in the versions read).
const LINES_BETWEEN: u32 = 48;
/// Instructions around the path's address that set the other arguments.
const AROUND: usize = 8;
/// Longest way from an error site to the start and to the end of its function, bytes.
const MAX_BACK: u64 = 8192;

/// What compilers align functions to, bytes.
const ALIGNED: u64 = 16;

/// One error site.
#[derive(Debug, Clone, Copy)]
struct Site {
    reason: u32,
    line: u32,
}

/// A function with its sites.
struct Sites {
    range: Range<u64>,
    code: Vec<Instruction>,
    sites: Vec<Site>,
}

/// `SSL_read` and `SSL_write`.
pub(crate) fn functions(elf: &Elf<'_>) -> Result<Vec<Function>, Unreadable> {
    if !elf.is_x86_64() {
        return Ok(Vec::new());
    }
    let targets: Vec<u64> =
        scan::texts(elf, &[SOURCE]).concat().iter().filter_map(|end| path_start(elf, *end)).collect();
    let references = scan::references(elf, &targets);
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let (mut all, called) = enclosing(elf, &references);
    for function in all.values_mut() {
        function.sites = sites(&function.code, &targets);
    }
    let has = |one: &Sites, reason| one.sites.iter().any(|site| site.reason == reason);
    // A binary can hold several copies of the library; each has its own pair.
    let mut found = Vec::new();
    for write in all.values().filter(|one| WRITE_REASONS.iter().all(|reason| has(one, *reason))) {
        let Some(line) = line_of(write) else { continue };
        let near = all.values().filter(|one| {
            one.range != write.range
                && line_of(one).is_some_and(|before| before < line && line - before <= LINES_BETWEEN)
        });
        let peeks: Vec<&Sites> = near.collect();
        let mut reads: Vec<u64> =
            peeks.iter().filter(|one| moves_on(&one.code)).map(|one| one.range.start).collect();
        if reads.is_empty() {
            reads = callers(elf, &peeks);
        }
        let start = write.range.start;
        let is_called = called.iter().any(|(_, target)| *target == start) || scan::is_called(elf, start);
        let (true, [read]) = (is_called, reads.as_slice()) else { continue };
        found.extend([(Role::Write, start), (Role::Read, *read)].into_iter().filter_map(|(role, start)| {
            Some(Function {
                entry: elf.code_offset(code::cheap_site(elf, start))?,
                returns: Vec::new(),
                role,
                count: Count::Returned,
                abi: Abi::C,
                library: Library::BoringSsl,
                method: Method::ErrorSites,
            })
        }));
    }
    Ok(found)
}

/// Line of the check against QUIC.
fn line_of(one: &Sites) -> Option<u32> {
    one.sites.iter().find(|site| site.reason == NOT_TO_BE_CALLED).map(|site| site.line)
}

/// Start of the text that ends at `end`.
fn path_start(elf: &Elf<'_>, end: u64) -> Option<u64> {
    let from = end.saturating_sub(MAX_PATH);
    let (segment, _) = elf.find(end)?;
    let from = from.max(segment.address);
    let bytes = elf.at_address(from, end - from)?;
    let zero = bytes.iter().rposition(|byte| *byte == 0)?;
    Some(from + zero as u64 + 1)
}

/// The functions around `references`, by start, and the calls into them that were read for that.
fn enclosing(elf: &Elf<'_>, references: &[u64]) -> (BTreeMap<u64, Sites>, Vec<(u64, u64)>) {
    let unwind = Unwind::of(elf);
    // A table may leave functions out: Bun's has those only that C++ throws through.
    let told: Vec<Option<Range<u64>>> =
        references.iter().map(|at| unwind.as_ref().and_then(|unwind| unwind.around(*at))).collect();
    let untold = references.iter().zip(&told).filter(|(_, told)| told.is_none());
    let back: Vec<_> =
        untold.map(|(at, _)| at.saturating_sub(MAX_BACK)..at.saturating_add(MAX_BACK)).collect();
    let called = if back.is_empty() { Vec::new() } else { scan::calls_into(elf, &back) };
    let mut all = BTreeMap::new();
    for (reference, told) in references.iter().zip(told) {
        let Some(range) = told.or_else(|| walk_back(elf, &called, *reference)) else { continue };
        if all.contains_key(&range.start) {
            continue;
        }
        if let Some(code) = code::instructions(elf, &range) {
            all.insert(range.start, Sites { range, code, sites: Vec::new() });
        }
    }
    (all, called)
}

/// Without unwind tables: from the last place before `reference` that is called and preceded by a trap byte, as linkers
/// fill the room between functions, up to the next such filling. A function that ends where the next begins has none
/// behind it: then what is called begins it.
fn walk_back(elf: &Elf<'_>, called: &[(u64, u64)], reference: u64) -> Option<Range<u64>> {
    let before = called.partition_point(|(_, target)| *target <= reference);
    let starts = called.get(..before)?.iter().rev().map(|(_, target)| *target);
    starts
        .take_while(|start| reference - start <= MAX_BACK)
        .filter(|start| elf.at_address(start.wrapping_sub(1), 1).is_some_and(|byte| byte == [0xcc]))
        .find_map(|start| {
            let range = code::until_filling(elf, start)?;
            range.contains(&reference).then(|| part(elf, called, &range, reference))
        })
}

/// The function with `reference` among those in `range`, which follow each other without a byte between.
fn part(elf: &Elf<'_>, called: &[(u64, u64)], range: &Range<u64>, reference: u64) -> Range<u64> {
    let code = code::instructions(elf, range).unwrap_or_default();
    let begins = |pair: &[Instruction]| {
        let [last, first] = pair else { return None };
        // What does not come back, as a call of abort, ends a function, too.
        let ends =
            last.flow_control() != FlowControl::Next && last.flow_control() != FlowControl::ConditionalBranch;
        let start = first.ip();
        (ends && start % ALIGNED == 0 && called.iter().any(|(_, target)| *target == start)).then_some(start)
    };
    let starts: Vec<u64> = code.windows(2).filter_map(begins).collect();
    let after = starts.partition_point(|start| *start <= reference);
    let start = after.checked_sub(1).and_then(|at| starts.get(at)).unwrap_or(&range.start);
    *start..*starts.get(after).unwrap_or(&range.end)
}

/// The error sites in a function.
fn sites(code: &[Instruction], targets: &[u64]) -> Vec<Site> {
    let mut found = Vec::new();
    for (at, one) in code.iter().enumerate() {
        let Some(register) = targets.iter().find_map(|target| code::names(one, *target)) else { continue };
        let ends = |one: &&Instruction| one.flow_control() == FlowControl::Next;
        let before = code.get(..at).unwrap_or_default().iter().rev().take(AROUND).take_while(ends);
        let after = code.get(at..).unwrap_or_default().iter().take(AROUND).take_while(ends);
        let constants: Vec<(Register, u32)> = before.chain(after).filter_map(code::constant).collect();
        let value =
            |wanted| constants.iter().find(|(register, _)| *register == wanted).map(|(_, value)| *value);
        // (library, unused, reason, file, line), or since 2025 (library, reason, file, line).
        let (reason, line) = match register {
            Register::RCX => (value(Register::RDX), value(Register::R8)),
            Register::RDX => (value(Register::RSI), value(Register::RCX)),
            _ => continue,
        };
        if let (Some(LIBRARY), Some(reason), Some(line)) = (value(Register::RDI), reason, line) {
            found.push(Site { reason, line });
        }
    }
    found
}

/// Whether the code writes both halves of a span that it also reads: its start and, behind it, its length.
fn moves_on(code: &[Instruction]) -> bool {
    let mut info = InstructionInfoFactory::new();
    let accesses: Vec<_> = code.iter().flat_map(|one| code::heap_access(one, &mut info)).collect();
    let touched = |offset: u64, written| {
        accesses.iter().any(|(at, size, write)| {
            *write == written && offset >= *at && offset + 8 <= at.saturating_add(*size as u64)
        })
    };
    accesses.iter().filter(|(at, size, write)| *write && *size >= 8 && *at < 4096).any(|(at, ..)| {
        let (start, length) = (*at, *at + 8);
        touched(start, true) && touched(length, true) && touched(length, false)
    })
}

/// Functions that call one of `peeks` and move the pending data on.
fn callers(elf: &Elf<'_>, peeks: &[&Sites]) -> Vec<u64> {
    let Some(unwind) = Unwind::of(elf) else { return Vec::new() };
    let ranges: Vec<_> = peeks.iter().map(|one| one.range.start..one.range.start + 1).collect();
    let mut found = Vec::new();
    for (call, _) in scan::calls_into(elf, &ranges) {
        let Some(range) = unwind.around(call) else { continue };
        let Some(code) = code::instructions(elf, &range) else { continue };
        if moves_on(&code) && !found.contains(&range.start) {
            found.push(range.start);
        }
    }
    found
}
