//! Executable mappings of a process, and whether a probe stands in one.

use std::{fs::File, os::unix::fs::FileExt as _, path::PathBuf};

use locate::Function;

/// Bytes that are compared at a probe: the breakpoint and what it took the place of.
const SITE: usize = 1;
/// Code that is compared at each offset, bytes.
const CODE: usize = 32;

/// A file mapped as code.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address, and the one after the last.
    pub range: (u64, u64),
    /// Offset of the first byte in the file.
    pub offset: u64,
    /// Path, as the process sees it.
    pub path: &'a str,
}

impl<'a> Mapping<'a> {
    /// From a line of `/proc/PID/maps` (proc_pid_maps(5)); nothing for mappings that are not code of a file.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (range, mode, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let path = line.get(line.find('/')?..)?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        mode.contains('x').then_some(Self {
            range: (number(start)?, number(end)?),
            offset: number(offset)?,
            path,
        })
    }

    /// File name.
    pub fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// The mapped inode itself, in any mount namespace, deleted or not.
    pub fn file(&self, pid: u32) -> PathBuf {
        PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", self.range.0, self.range.1))
    }

    /// Whether process `pid` has the code of `file` as it stands there, where one of `functions` should have a
    /// breakpoint. What cannot be read is not said to lack one.
    pub fn lacks_probe(&self, pid: u32, file: &File, functions: &[Function]) -> bool {
        let address = |entry: u64| {
            let address = self.range.0.checked_add(entry.checked_sub(self.offset)?)?;
            (address < self.range.1).then_some((address, entry))
        };
        let Some((address, entry)) = functions.iter().find_map(|one| address(one.entry)) else {
            return false;
        };
        let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return false };
        let (mut here, mut there) = ([0; SITE], [0; SITE]);
        let read =
            memory.read_exact_at(&mut here, address).is_ok() && file.read_exact_at(&mut there, entry).is_ok();
        read && here == there
    }
}

/// Whether two files have the same code where probes of `functions` go.
pub fn same_code(one: &File, other: &File, functions: &[Function]) -> bool {
    let mut offsets =
        functions.iter().flat_map(|one| std::iter::once(one.entry).chain(one.returns.iter().copied()));
    offsets.all(|offset| {
        let (mut here, mut there) = ([0; CODE], [0; CODE]);
        // The end of a file may be nearer.
        let (first, second) = (one.read_at(&mut here, offset), other.read_at(&mut there, offset));
        matches!((first, second), (Ok(first), Ok(second)) if first > 0 && first == second) && here == there
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_a_mapping() {
        let line = "7f00a000-7f00b000 r-xp 00002000 fe:00 1234   /usr/lib/lib ssl.so.3 (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!((mapping.range, mapping.offset), ((0x7f00_a000, 0x7f00_b000), 0x2000));
        assert_eq!(mapping.name(), "lib ssl.so.3 (deleted)");
        assert_eq!(mapping.file(7).display().to_string(), "/proc/7/map_files/7f00a000-7f00b000");
        for other in [
            "7f00a000-7f00b000 r--p 00002000 fe:00 1234   /usr/lib/libssl.so.3",
            "7f00a000-7f00b000 r-xp 00000000 00:00 0   [vdso]",
            "x-y r-xp 0 00:00 0 /a",
            "",
        ] {
            assert_eq!(Mapping::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_without_probes_lacks_one() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapping = maps.lines().find_map(Mapping::parse).unwrap();
        let file = File::open("/proc/self/exe").unwrap();
        let function = |entry| Function {
            entry,
            returns: Vec::new(),
            role: locate::Role::Write,
            count: locate::Count::Returned,
            abi: locate::Abi::C,
            library: locate::Library::OpenSsl,
            method: locate::Method::Exported,
        };
        let pid = std::process::id();
        assert!(mapping.lacks_probe(pid, &file, &[function(mapping.offset + 64)]));
        assert!(!mapping.lacks_probe(pid, &file, &[function(mapping.offset.wrapping_sub(1))]));
        assert!(!mapping.lacks_probe(pid, &File::open("/bin/sh").unwrap(), &[]));
        let other = File::open("/bin/ls").unwrap();
        assert!(same_code(&other, &other, &[function(0x4000)]));
        assert!(!same_code(&file, &other, &[function(0)]) || file.metadata().unwrap().len() == 0);
    }
}
