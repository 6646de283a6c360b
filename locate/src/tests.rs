//! The locators on small files made here, whole and broken.

mod aead;
mod golang;

use proptest::prelude::*;

use crate::{
    Abi, Count, Elf, Function, Library, Located, Method, Role, Unreadable, by_debug_file, by_symbols, locate,
};

const BASE: u64 = 0x40_0000;
const RODATA: u64 = BASE + 0x1000;
const TEXT: u64 = BASE + 0x2000;
const OTHER: u64 = BASE + 0x3000;
/// Length of the file up to what stands at [`OTHER`].
const TEXT_OFFSET: usize = 0x2000;
const TEXT_END: usize = 0x3000;
const PATH: &[u8] = b"\0../vendor/boringssl/ssl/ssl_lib.cc\0";

/// A section: name, address (0 when it is not loaded), contents.
type Part = (&'static str, u64, Vec<u8>);

/// An x86-64 ELF file in which every part with an address is a segment of its own.
fn image(parts: &[Part]) -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    let mut names = b"\0.shstrtab\0".to_vec();
    let mut headers = vec![0; 64];
    let mut segments = Vec::new();
    let le = |value: u64| value.to_le_bytes();
    for (name, address, contents) in parts {
        let offset = if *address == 0 { file.len() } else { (address - BASE) as usize };
        file.resize(file.len().max(offset + contents.len()), 0);
        file[offset..offset + contents.len()].copy_from_slice(contents);
        let mut row = [0; 64];
        row[0..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
        row[4] = 1;
        row[16..24].copy_from_slice(&le(*address));
        row[24..32].copy_from_slice(&le(offset as u64));
        row[32..40].copy_from_slice(&le(contents.len() as u64));
        headers.extend(row);
        names.extend([name.as_bytes(), b"\0"].concat());
        if *address != 0 {
            let mut row = [0; 56];
            row[0] = 1;
            row[4] = if *name == ".text" { 5 } else { 4 };
            row[8..16].copy_from_slice(&le(offset as u64));
            row[16..24].copy_from_slice(&le(*address));
            row[32..40].copy_from_slice(&le(contents.len() as u64));
            segments.extend(row);
        }
    }
    let mut row = [0; 64];
    row[0] = 1;
    row[4] = 3;
    row[24..32].copy_from_slice(&le(file.len() as u64));
    row[32..40].copy_from_slice(&le(names.len() as u64));
    let count = (headers.len() / 64) as u16;
    headers.extend(row);
    file.extend(&names);
    let at = file.len() as u64;
    file.extend(headers);
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[16] = 2; // runs at the addresses that it names
    file[18] = 62;
    file[32..40].copy_from_slice(&le(64));
    file[40..48].copy_from_slice(&le(at));
    file[54..56].copy_from_slice(&56u16.to_le_bytes());
    file[56..58].copy_from_slice(&((segments.len() / 56) as u16).to_le_bytes());
    file[58..60].copy_from_slice(&64u16.to_le_bytes());
    file[60..62].copy_from_slice(&(count + 1).to_le_bytes());
    file[62..64].copy_from_slice(&count.to_le_bytes());
    file[64..64 + segments.len()].copy_from_slice(&segments);
    file
}

/// Code put together piece by piece at [`TEXT`].
#[derive(Default)]
struct Code(Vec<u8>);

impl Code {
    fn here(&self) -> u64 {
        TEXT + self.0.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    fn call(&mut self, target: u64) -> &mut Self {
        let displacement = target.wrapping_sub(self.here() + 5) as u32;
        self.put(&[0xe8]).put(&displacement.to_le_bytes())
    }

    /// `lea register, [rip + …]`, the register by its ModRM byte.
    fn lea(&mut self, modrm: u8, target: u64) -> &mut Self {
        let displacement = target.wrapping_sub(self.here() + 7) as u32;
        self.put(&[0x48, 0x8d, modrm]).put(&displacement.to_le_bytes())
    }

    fn fill(&mut self) -> u64 {
        self.put(&[0xcc]);
        while !self.0.len().is_multiple_of(16) {
            self.put(&[0xcc]);
        }
        self.here()
    }
}

/// How a BoringSSL was compiled.
#[derive(Debug, Clone, Copy)]
struct Boring {
    /// The reason stands in the second argument, not the third.
    recent: bool,
    /// Addresses are relative.
    relative: bool,
}

fn error_site(code: &mut Code, how: Boring, reason: u32, line: u32) {
    let (path, target) = (RODATA + 1, TEXT);
    let set = |code: &mut Code, opcode: &[u8], value: u32| {
        code.put(opcode).put(&value.to_le_bytes());
    };
    let name = |code: &mut Code, modrm: u8, opcode: u8| {
        if how.relative {
            code.lea(modrm, path);
        } else {
            set(code, &[opcode], path as u32);
        }
    };
    set(code, &[0xbf], 16);
    if how.recent {
        set(code, &[0xbe], reason);
        name(code, 0x15, 0xba);
        set(code, &[0xb9], line);
    } else {
        code.put(&[0x31, 0xf6]);
        set(code, &[0xba], reason);
        name(code, 0x0d, 0xb9);
        set(code, &[0x41, 0xb8], line);
    }
    code.call(target);
}

/// Reads and writes both halves of a span.
const MOVES_ON: &[u8] = &[
    0x48, 0x01, 0x98, 0x80, 0, 0, 0, // add [rax+0x80], rbx
    0x48, 0x8b, 0x88, 0x88, 0, 0, 0, // mov rcx, [rax+0x88]
    0x48, 0x89, 0x88, 0x88, 0, 0, 0, // mov [rax+0x88], rcx
];

/// A BoringSSL program without unwind tables, and where its write and its read are.
fn boring(how: Boring) -> (Vec<u8>, [u64; 2]) {
    let (code, starts) = boring_code(how);
    (image(&[(".rodata", RODATA, PATH.to_vec()), (".text", TEXT, code.0)]), starts)
}

/// `SSL_write`, with its four reasons.
fn writing(code: &mut Code, how: Boring) {
    code.put(&[0x55]);
    for (reason, line) in [(66, 953), (226, 958), (215, 973), (111, 979)] {
        error_site(code, how, reason, line);
    }
    code.put(&[0xc3]);
}

fn boring_code(how: Boring) -> (Code, [u64; 2]) {
    let mut code = Code::default();
    code.put(&[0xc3]); // the error function
    let peek = code.fill();
    code.put(&[0x55]);
    error_site(&mut code, how, 66, 931);
    code.put(&[0x48, 0x8b, 0x88, 0x88, 0, 0, 0, 0xc3]);
    let read = code.fill();
    code.put(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55]); // endbr64; push rbp
    error_site(&mut code, how, 66, 931);
    code.put(MOVES_ON).put(&[0xc3]);
    let write = code.fill();
    writing(&mut code, how);
    code.fill();
    code.call(peek).call(read).call(write).put(&[0xc3]);
    code.fill();
    (code, [write, read])
}

/// An OpenSSL 3 without symbols whose `ssl_write_internal` has flags or not.
fn open(flags: bool) -> (Vec<u8>, [u64; 2]) {
    let mut rodata = b"\0ssl/ssl_lib.c\0".to_vec();
    let mut names = Vec::new();
    for name in ["ssl_write_internal\0", "ssl_read_internal\0"] {
        names.push(RODATA + rodata.len() as u64);
        rodata.extend(name.as_bytes());
    }
    let mut code = Code::default();
    code.put(&[0xc3]);
    let mut starts = Vec::new();
    for (index, name) in names.iter().enumerate() {
        starts.push(code.fill());
        code.put(&[0x41, 0x56]); // push r14
        code.put(if flags && index == 0 { &[0x4c, 0x89, 0xc3] } else { &[0x48, 0x89, 0xcb] }); // mov rbx, r8 or rcx
        code.lea(0x15, *name).put(&[0xbe, 1, 2, 0, 0]).lea(0x3d, RODATA + 1).call(TEXT).put(&[0xc3]);
    }
    let caller = code.fill();
    code.call(starts[0]).call(starts[1]).put(&[0xc3]);
    let ends = [starts[1], caller];
    (
        image(&[(".rodata", RODATA, rodata), (".text", TEXT, code.0), unwind(&starts, &ends)]),
        [starts[0], starts[1]],
    )
}

/// A table of functions as `.eh_frame_hdr` and `.eh_frame` hold it.
fn unwind(starts: &[u64], ends: &[u64]) -> Part {
    let mut header = vec![1, 0x1b, 3, 0x3b, 0, 0, 0, 0];
    header.extend((starts.len() as u32).to_le_bytes());
    let entries = OTHER + 12 + 8 * starts.len() as u64;
    let mut frames = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let entry = entries + frames.len() as u64;
        header.extend(((*start).wrapping_sub(OTHER) as u32).to_le_bytes());
        header.extend((entry.wrapping_sub(OTHER) as u32).to_le_bytes());
        frames.extend(12u32.to_le_bytes());
        frames.extend(0u32.to_le_bytes());
        frames.extend((start.wrapping_sub(entry + 8) as u32).to_le_bytes());
        frames.extend(((end - start) as u32).to_le_bytes());
    }
    header.extend(frames);
    (".eh_frame_hdr", OTHER, header)
}

fn symbols(section: [&'static str; 2], names: &[(&str, u64)]) -> Vec<Part> {
    let (mut table, mut strings) = (vec![0; 24], vec![0]);
    for (name, address) in names {
        table.extend((strings.len() as u32).to_le_bytes());
        table.extend([2, 0, 1, 0]);
        table.extend(address.to_le_bytes());
        table.extend(0u64.to_le_bytes());
        strings.extend([name.as_bytes(), b"\0"].concat());
    }
    vec![(section[0], 0, table), (section[1], 0, strings)]
}

fn found(file: &[u8]) -> Vec<Function> {
    let Located { functions } = locate(&Elf::parse(&file).unwrap()).unwrap();
    functions
}

fn entries(file: &[u8]) -> Vec<(Role, u64)> {
    found(file).iter().map(|one| (one.role, one.entry + BASE)).collect()
}

#[test]
fn what_is_no_elf_file_is_refused() {
    assert_eq!(Elf::parse(&&b"#!/bin/sh\n"[..]).err(), Some(Unreadable::NotElf));
    let mut file = image(&[]);
    file[56] = 255;
    assert_eq!(Elf::parse(&&file[..]).err(), Some(Unreadable::Malformed("program headers")));
}

#[test]
fn every_form_of_error_site_of_boringssl_is_read() {
    for (recent, relative) in [(false, false), (false, true), (true, false), (true, true)] {
        let how = Boring { recent, relative };
        let (file, [write, read]) = boring(how);
        // The read begins with endbr64: the push behind it is the cheaper site. The peek is no read.
        assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read + 4)], "{how:?}");
        let one = &found(&file)[0];
        assert_eq!(
            (one.library, one.method, one.count),
            (Library::BoringSsl, Method::ErrorSites, Count::Returned)
        );
    }
}

#[test]
fn functions_of_boringssl_without_room_between_them_are_told_apart() {
    let how = Boring { recent: true, relative: true };
    let mut code = Code::default();
    code.put(&[0xc3]); // the error function
    let read = code.fill();
    code.put(&[0x55]);
    error_site(&mut code, how, 66, 928);
    code.put(MOVES_ON).put(&[0xe8, 0, 0, 0, 0, 0xc3]);
    // What both go through has the reasons but that of the length, and ends where the write begins.
    let inner = code.fill();
    code.put(&[0x55]);
    for (reason, line) in [(226, 900), (215, 910)] {
        error_site(&mut code, how, reason, line);
    }
    while code.here() % 16 != 15 {
        code.put(&[0x90]);
    }
    code.put(&[0xc3]);
    let write = code.here();
    writing(&mut code, how);
    code.fill();
    code.call(read).call(inner).call(write).put(&[0xc3]);
    code.fill();
    let file = image(&[(".rodata", RODATA, PATH.to_vec()), (".text", TEXT, code.0)]);
    assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read)]);
}

#[test]
fn functions_that_the_unwind_tables_leave_out_are_found_without() {
    let (code, [write, read]) = boring_code(Boring { recent: true, relative: true });
    let table = unwind(&[TEXT], &[TEXT + 1]);
    let file = image(&[(".rodata", RODATA, PATH.to_vec()), (".text", TEXT, code.0), table]);
    assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read + 4)]);
}

#[test]
fn what_is_called_through_a_register_is_a_function_by_the_pointer_to_it() {
    let (mut code, [write, read]) = boring_code(Boring { recent: false, relative: true });
    let call = code.0.iter().rposition(|byte| *byte == 0xe8).unwrap();
    code.0[call..call + 5].fill(0x90);
    let table = unwind(&[read, write], &[write, TEXT + call as u64]);
    let parts = [(".rodata", RODATA, PATH.to_vec()), (".text", TEXT, code.0), table];
    assert_eq!(found(&image(&parts)), []);
    let pointer = (".got", OTHER + 0x1000, write.to_le_bytes().to_vec());
    let file = image(&[parts.as_slice(), &[pointer]].concat());
    assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read + 4)]);
}

#[test]
fn inner_functions_of_openssl_3_are_found_with_the_argument_of_their_count() {
    for (flags, count) in [(false, Count::Through(3)), (true, Count::Through(4))] {
        let (file, [write, read]) = open(flags);
        assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read)]);
        assert_eq!(found(&file)[0].count, count);
        assert_eq!(found(&file)[1].count, Count::Through(3));
    }
}

#[test]
fn a_name_without_the_path_of_its_source_file_is_not_openssl() {
    let (mut file, _) = open(false);
    file[0x1000..0x1010].fill(b'x');
    assert_eq!(found(&file), []);
}

#[test]
fn symbols_name_functions_in_code_and_one_direction_is_no_library() {
    let text = (".text", TEXT, vec![0x55, 0xc3, 0x55, 0xc3]);
    let both = [("gnutls_record_send", TEXT), ("gnutls_record_recv", TEXT + 2)];
    for sections in [[".dynsym", ".dynstr"], [".symtab", ".strtab"]] {
        let mut parts = vec![text.clone()];
        parts.extend(symbols(sections, &both));
        assert_eq!(entries(&image(&parts)), [(Role::Write, TEXT), (Role::Read, TEXT + 2)]);
        assert_eq!(found(&image(&parts))[0].library, Library::GnuTls);
        parts.truncate(1);
        parts.extend(symbols(sections, &both[..1]));
        assert_eq!(entries(&image(&parts)), []);
        parts.truncate(1);
        parts.extend(symbols(sections, &[("SSL_write", RODATA), ("SSL_read", 0)]));
        assert_eq!(entries(&image(&parts)), []);
    }
}

#[test]
fn a_debug_file_counts_only_with_the_same_build_id() {
    let note = |id: u8| {
        (".note.gnu.build-id", 0, [4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0, id, 7].to_vec())
    };
    let stripped = image(&[(".text", TEXT, vec![0x55, 0xc3, 0x55, 0xc3]), note(1)]);
    let debug = |id| {
        let mut parts = symbols([".symtab", ".strtab"], &[("SSL_write", TEXT), ("SSL_read", TEXT + 2)]);
        parts.push(note(id));
        image(&parts)
    };
    let (same, other) = (debug(1), debug(2));
    let stripped = &&stripped[..];
    let elf = Elf::parse(stripped).unwrap();
    assert_eq!(elf.build_id(), "0107");
    let found = by_debug_file(&elf, &Elf::parse(&&same[..]).unwrap()).unwrap().functions;
    assert_eq!(found.iter().map(|one| one.method).collect::<Vec<_>>(), [Method::DebugFile; 2]);
    assert_eq!(by_debug_file(&elf, &Elf::parse(&&other[..]).unwrap()).unwrap(), Located::default());
}

/// Files, and where their functions begin.
fn samples() -> Vec<(Vec<u8>, Vec<u64>)> {
    let how = |recent, relative| boring(Boring { recent, relative });
    let pairs = [how(false, false), how(true, true), open(false), open(true), golang::program(0xffff_fff1)];
    let mut all: Vec<_> = pairs.into_iter().map(|(file, starts)| (file, starts.to_vec())).collect();
    let (chacha, starts) = aead::whole(aead::LABEL);
    all.extend([aead::state(), aead::pieces(aead::LABEL), (chacha, starts.to_vec())]);
    all
}

/// Changes bytes of a sample, cuts it, and looks at what is found.
fn broken(sample: usize, changes: &[(u16, u8)], cut: Option<u16>) {
    let (mut file, starts) = samples().swap_remove(sample);
    let mut code_changed = false;
    for (at, byte) in changes {
        let at = usize::from(*at) % file.len();
        file[at] = *byte;
        // The headers say where code is.
        code_changed |= (TEXT_OFFSET..TEXT_END).contains(&at) || at < 0x1000;
    }
    if let Some(cut) = cut {
        file.truncate(usize::from(cut));
    }
    let file = &&file[..];
    let Ok(elf) = Elf::parse(file) else { return };
    let _ = (by_symbols(&elf), elf.build_id(), elf.debug_link());
    let Ok(Located { functions }) = locate(&elf) else { return };
    for one in &functions {
        assert!(one.returns.iter().chain([&one.entry]).all(|offset| *offset < file.len() as u64));
        if !code_changed {
            let start = one.entry + BASE;
            let sites = |real: &u64| [*real, real + 4, real + 12];
            assert!(starts.iter().flat_map(sites).any(|site| site == start), "{one:x?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn broken_files_give_no_probe_off_an_instruction(
        sample in 0usize..8,
        changes in prop::collection::vec((any::<u16>(), any::<u8>()), 0..24),
        cut in prop::option::weighted(0.1, any::<u16>()),
    ) {
        broken(sample, &changes, cut);
    }

    #[test]
    fn any_bytes_are_no_danger(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        if bytes.len() >= 64 {
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        }
        let bytes = &&bytes[..];
        if let Ok(elf) = Elf::parse(bytes) {
            let _ = locate(&elf);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200_000))]

    #[test]
    #[ignore = "takes minutes; for a change of a locator"]
    fn many_more_broken_files_give_no_probe_off_an_instruction(
        sample in 0usize..8,
        changes in prop::collection::vec((any::<u16>(), any::<u8>()), 0..24),
    ) {
        broken(sample, &changes, None);
    }
}
