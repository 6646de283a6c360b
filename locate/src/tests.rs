use crate::{Bytes, Elf, Unreadable};

#[test]
fn text_is_no_elf_file() {
    let text: &[u8] = b"#!/bin/sh\n";
    assert_eq!(Elf::parse(&text).err(), Some(Unreadable::NotElf));
    assert!(!text.read(8, &mut [0; 3]));
}
