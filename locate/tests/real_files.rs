//! The locators on the executables and libraries of this machine, whole and damaged: they neither fail nor read
//! without bound, and no probe site is inside an instruction.
//!
//! `KEYWITNESS_ELF_FILES=24000 cargo test -p keywitness-locate --test real_files -- --nocapture` for the long run.

use std::{cell::Cell, collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use fastrand::Rng;
use iced_x86::{Decoder, DecoderOptions, Instruction};
use keywitness_locate::{Bytes, Elf, Function, locate};

/// Damaged files when nothing else is asked for.
const FILES: usize = 400;
/// Where files are taken from.
const FOLDERS: [&str; 5] =
    ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/git-core", "/usr/local/bin"];
/// Largest file that is taken, bytes.
const LARGEST: u64 = 4 << 20;
/// The locators may read a file so many times over, and some tables of any file.
const TIMES: u64 = 16;
const TABLES: u64 = 4 << 20;
/// Bytes before a site from which its surroundings are decoded.
const BEFORE: usize = 96;
/// Longest x86 instruction, bytes.
const MAX_INSTRUCTION: usize = 15;

/// A file in memory that counts what is read of it.
struct Counted<'a> {
    bytes: &'a [u8],
    read: Cell<u64>,
}

impl Bytes for Counted<'_> {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.read.set(self.read.get() + into.len() as u64);
        self.bytes.read(offset, into)
    }
}

fn files() -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            let new = metadata.is_file()
                && metadata.len() <= LARGEST
                && seen.insert((metadata.dev(), metadata.ino()));
            if new && fs::read(entry.path()).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Damages a file in one of the ways in which files are damaged, or made up.
fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    let len = bytes.len();
    match random.usize(..5) {
        // The headers, where every number leads somewhere.
        0 => (0..=random.usize(..24)).for_each(|_| {
            let (tables, at) = (random.bool(), random.usize(..1024.min(len)));
            let at = if tables { len - 1 - at } else { at };
            bytes[at] = random.u8(..);
        }),
        1 => (0..=random.usize(..2000)).for_each(|_| {
            let at = random.usize(..len);
            bytes[at] = random.u8(..);
        }),
        2 => bytes.truncate(random.usize(..len)),
        // A block that is not written.
        3 => {
            let at = random.usize(..len);
            let end = len.min(at + random.usize(..65_536));
            bytes[at..end].fill(0);
        }
        // Blocks of the file in another place.
        _ => (0..=random.usize(..8)).for_each(|_| {
            let (from, to) = (random.usize(..len), random.usize(..len));
            let size = random.usize(..16_384).min(len - from.max(to));
            bytes.copy_within(from..from + size, to);
        }),
    }
}

fn located(bytes: &[u8], name: &str) -> Vec<Function> {
    let counted = Counted { bytes, read: Cell::new(0) };
    let found = Elf::parse(&counted).and_then(|elf| locate(&elf)).map(|located| located.functions);
    let (read, limit) = (counted.read.get(), TIMES * bytes.len() as u64 + TABLES);
    assert!(read <= limit, "{name}: {read} bytes were read of {}", bytes.len());
    found.unwrap_or_default()
}

/// Whether decoding from places before `site` arrives at it: x86 code that is read from a wrong place falls into
/// step after a few instructions, so most ways lead to a real boundary and few into an instruction.
fn is_boundary(bytes: &[u8], site: usize) -> bool {
    let start = site.saturating_sub(BEFORE);
    let arrives = |from: usize| {
        let mut decoder = Decoder::with_ip(64, &bytes[from..], from as u64, DecoderOptions::NONE);
        let mut one = Instruction::default();
        while decoder.position() + from < site {
            decoder.decode_out(&mut one);
        }
        decoder.position() + from == site
    };
    let ways = (start..site).filter(|from| arrives(*from)).count();
    let valid = !Decoder::new(64, &bytes[site..], DecoderOptions::NONE).decode().is_invalid();
    valid && ways * 4 >= site - start
}

/// Every site of `functions` in `bytes`; where code was damaged around one there is nothing to compare it with.
fn check(bytes: &[u8], whole: &[u8], functions: &[Function], name: &str) {
    for function in functions {
        for site in std::iter::once(function.entry).chain(function.returns.iter().copied()) {
            let site = usize::try_from(site).unwrap_or(usize::MAX);
            assert!(site < bytes.len(), "{name}: {site:#x} of {function:?} is not in the file");
            let around = site.saturating_sub(BEFORE)..bytes.len().min(site + MAX_INSTRUCTION);
            let same = whole.get(around.clone()) == bytes.get(around);
            assert!(!same || is_boundary(bytes, site), "{name}: {site:#x} of {function:?}");
        }
    }
}

#[test]
fn damaged_files_are_read_within_bounds_and_probed_only_between_instructions() {
    let wanted = std::env::var("KEYWITNESS_ELF_FILES").map_or(FILES, |text| text.parse().unwrap());
    let files = files();
    assert!(files.len() > 50, "only {} files here", files.len());
    // The same in every run, so that a failure can be had again.
    let mut random = Rng::with_seed(1);
    let (mut answers, mut changed) = (0, 0);
    for index in 0..wanted {
        // Libraries that have an answer come more often than chance would have it.
        let tls = ["libssl.so", "libgnutls.so"];
        let of_tls: Vec<_> = files
            .iter()
            .filter(|path| tls.iter().any(|name| path.to_string_lossy().contains(name)))
            .collect();
        let path = match index % 4 {
            0 if !of_tls.is_empty() => of_tls[random.usize(..of_tls.len())],
            _ => &files[random.usize(..files.len())],
        };
        let mut bytes = fs::read(path).unwrap();
        let name = format!("{} ({index})", path.display());
        let answer = located(&bytes, &name);
        check(&bytes, &bytes, &answer, &name);
        let whole = bytes.clone();
        damage(&mut bytes, &mut random);
        let found = located(&bytes, &name);
        answers += usize::from(!found.is_empty());
        if found != answer && !found.is_empty() {
            changed += 1;
        }
        check(&bytes, &whole, &found, &name);
    }
    println!(
        "{wanted} damaged files of {}: {answers} with an answer, {changed} with another than before",
        files.len()
    );
    assert!(answers > wanted / 20, "only {answers} of {wanted} have an answer");
}
