//! Prints what is found in the files named.
use std::{fs::File, os::unix::fs::FileExt as _};

struct Opened(File);
impl keywitness_locate::Bytes for Opened {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.0.read_exact_at(into, offset).is_ok()
    }
}

fn main() {
    for path in std::env::args().skip(1) {
        let start = std::time::Instant::now();
        let file = Opened(File::open(&path).unwrap());
        let elf = keywitness_locate::Elf::parse(&file).unwrap();
        let found = keywitness_locate::locate(&elf).unwrap();
        println!("{path} {} {:?}", elf.build_id(), start.elapsed());
        for one in found.functions {
            println!("   {:x?}", one);
        }
    }
}
