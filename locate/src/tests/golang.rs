//! Go's table of functions, wherever linkers put it and the start of the code.

use super::{Code, OTHER, TEXT, entries, found, image};
use crate::{Abi, Role};

const REGISTERS: &[u8] = &[0x49, 0x3b, 0x66, 0x10]; // cmp rsp, [r14+0x10]
/// Where the module is.
const MODULE: u64 = OTHER + 0x1000;
/// What the linker wrote before the table.
const BEFORE: u64 = 32;

/// Where a linker put things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A section for the table, which names the start of the code: until Go 1.25.
    Own,
    /// The table stands among other data, after [`BEFORE`] bytes.
    Among,
    /// The module names the start of the code: since Go 1.26.
    Module,
    /// The module is that of another table.
    OtherModule,
}

/// A Go program of 1.18 or later, and where its two functions are.
pub(super) fn program(magic: u32) -> (Vec<u8>, [u64; 2]) {
    go(magic, REGISTERS, Layout::Own)
}

fn go(magic: u32, prologue: &[u8], layout: Layout) -> (Vec<u8>, [u64; 2]) {
    let names = b"\0crypto/tls.(*Conn).Write\0crypto/tls.(*Conn).Read\0";
    let mut code = Code::default();
    let mut starts = Vec::new();
    for _ in 0..2 {
        starts.push(code.fill());
        code.put(prologue).put(&[0x76, 0x01, 0xc3, 0xc3]); // jbe over one return
    }
    let end = code.fill();
    let mut table = magic.to_le_bytes().to_vec();
    table.extend([0, 0, 1, 8]);
    let rows = 72 + names.len() as u64;
    let text = if matches!(layout, Layout::Own | Layout::Among) { TEXT } else { 0 };
    for word in [2, 0, text, 72, 0, 0, 0, rows] {
        table.extend(u64::to_le_bytes(word));
    }
    table.extend(names);
    let functions = (4 * 5) as u32;
    for (index, start) in starts.iter().enumerate() {
        table.extend(((start - TEXT) as u32).to_le_bytes());
        table.extend((functions + 8 * index as u32).to_le_bytes());
    }
    table.extend(((end - TEXT) as u32).to_le_bytes());
    for name in [1u32, 26] {
        table.extend(0u32.to_le_bytes());
        table.extend(name.to_le_bytes());
    }
    let mut parts = vec![(".text", TEXT, code.0)];
    if layout == Layout::Among {
        let data = [vec![0xf1; BEFORE as usize], table].concat();
        parts.extend([(".data.rel.ro", OTHER, data), (".go.buildinfo", MODULE, vec![0; 16])]);
    } else {
        let names = OTHER + if layout == Layout::Module { 72 } else { 80 };
        let mut module = vec![0; 184];
        for (at, word) in [(0, OTHER), (8, names), (176, TEXT)] {
            module[at..at + 8].copy_from_slice(&u64::to_le_bytes(word));
        }
        parts.extend([(".gopclntab", OTHER, table), (".go.module", MODULE, module)]);
    }
    (image(&parts), [starts[0], starts[1]])
}

#[test]
fn go_is_read_by_its_function_table_and_only_with_arguments_in_registers() {
    for magic in [0xffff_fff0, 0xffff_fff1] {
        let (file, [write, read]) = program(magic);
        assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read)]);
        let one = &found(&file)[1];
        assert_eq!((one.abi, one.returns.len()), (Abi::Go, 2));
        assert_eq!(one.returns, [one.entry + 6, one.entry + 7]);
    }
    let stack = &[0x48, 0x3b, 0x61, 0x10]; // cmp rsp, [rcx+0x10]
    assert_eq!(found(&go(0xffff_fff1, stack, Layout::Own).0), []);
    assert_eq!(found(&program(0xffff_fffb).0), []);
}

#[test]
fn the_table_is_found_among_other_data_and_the_code_by_the_module() {
    for layout in [Layout::Among, Layout::Module] {
        let (file, [write, read]) = go(0xffff_fff1, REGISTERS, layout);
        assert_eq!(entries(&file), [(Role::Write, write), (Role::Read, read)], "{layout:?}");
    }
    assert_eq!(found(&go(0xffff_fff1, REGISTERS, Layout::OtherModule).0), []);
}
