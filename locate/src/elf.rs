//! The parts of an ELF file that the locators read (System V gABI, chapters 4 and 5).
//!
//! Headers are read once; code and data are read where they are needed, through [`Bytes`], so that a file
//! of hundreds of megabytes needs no memory of that size.

use thiserror::Error;

/// Largest file looked at, bytes. Agents that are single executables reach 250 MB.
const MAX_FILE: u64 = 1 << 30;
/// Program headers looked at.
const MAX_SEGMENTS: u16 = 64;
/// Section headers looked at.
const MAX_SECTIONS: u16 = 8192;
/// Largest table of section names, bytes.
const MAX_NAMES: u64 = 1 << 20;
/// Longest build id kept, bytes (SHA-1 has 20, SHA-256 32).
const MAX_BUILD_ID: usize = 64;
/// Longest note section read, bytes.
const MAX_NOTE: u64 = 4096;

const PT_LOAD: u32 = 1;
const SHT_NOBITS: u32 = 8;
const NT_GNU_BUILD_ID: u32 = 3;
const EM_X86_64: u16 = 62;
const ET_EXEC: u16 = 2;
const PF_X: u32 = 1;
const PF_W: u32 = 2;

/// Something that has the bytes of a file.
pub trait Bytes {
    /// Size of the file.
    fn size(&self) -> u64;
    /// Fills `into` from `offset`; false when it cannot.
    fn read(&self, offset: u64, into: &mut [u8]) -> bool;
}

impl Bytes for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let part = usize::try_from(offset).ok().and_then(|at| self.get(at..)?.get(..into.len()));
        part.map(|part| into.copy_from_slice(part)).is_some()
    }
}

/// Why a file has no answer.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unreadable {
    /// Not a 64-bit little-endian ELF file.
    #[error("not a 64-bit ELF file")]
    NotElf,
    /// Its headers or tables point outside of it.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Too large to look at.
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// File or table.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// A loaded part of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) executable: bool,
    pub(crate) writable: bool,
}

/// A section.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    name: String,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// A file whose headers are read.
pub struct Elf<'a> {
    bytes: &'a dyn Bytes,
    kind: u16,
    machine: u16,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

impl std::fmt::Debug for Elf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elf").field("machine", &self.machine).finish_non_exhaustive()
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub fn parse(bytes: &'a dyn Bytes) -> Result<Self, Unreadable> {
        within("file", bytes.size(), MAX_FILE)?;
        let mut header = [0; 64];
        // Magic number, 64 bits, little-endian.
        if !bytes.read(0, &mut header) || header[..6] != *b"\x7fELF\x02\x01" {
            return Err(Unreadable::NotElf);
        }
        let field = |at| u16_at(&header, at).unwrap_or(0);
        let place = |at| u64_at(&header, at).unwrap_or(0);
        let (segments, sections) = (Vec::new(), Vec::new());
        let mut elf = Self { bytes, kind: field(16), machine: field(18), segments, sections };
        elf.segments = elf.read_segments(place(32), field(54), field(56))?;
        // Without sections a file still runs; what needs them is not found then.
        elf.sections = elf.read_sections(place(40), field(58), field(60), field(62)).unwrap_or_default();
        Ok(elf)
    }

    fn read_segments(&self, at: u64, size: u16, count: u16) -> Result<Vec<Segment>, Unreadable> {
        if size != 56 || count > MAX_SEGMENTS {
            return Err(Unreadable::Malformed("program headers"));
        }
        let table =
            self.at_offset(at, 56 * u64::from(count)).ok_or(Unreadable::Malformed("program headers"))?;
        let mut segments = Vec::new();
        for row in table.chunks_exact(56) {
            let (Some(kind), Some(flags)) = (u32_at(row, 0), u32_at(row, 4)) else { continue };
            let (Some(offset), Some(address), Some(size)) =
                (u64_at(row, 8), u64_at(row, 16), u64_at(row, 32))
            else {
                continue;
            };
            let inside = offset.checked_add(size).is_some_and(|end| end <= self.bytes.size());
            if kind == PT_LOAD && inside && address.checked_add(size).is_some() {
                let (executable, writable) = (flags & PF_X != 0, flags & PF_W != 0);
                segments.push(Segment { offset, address, size, executable, writable });
            }
        }
        Ok(segments)
    }

    fn read_sections(&self, at: u64, size: u16, count: u16, names: u16) -> Option<Vec<Section>> {
        if size != 64 || count > MAX_SECTIONS {
            return None;
        }
        let table = self.at_offset(at, 64 * u64::from(count))?;
        let row = table.get(usize::from(names) * 64..)?.get(..64)?;
        let size = u64_at(row, 32)?;
        if size > MAX_NAMES {
            return None;
        }
        let names = self.at_offset(u64_at(row, 24)?, size)?;
        let sections = table.chunks_exact(64).filter_map(|row| {
            let name = names.get(u32_at(row, 0)? as usize..)?;
            let name = name.get(..name.iter().position(|byte| *byte == 0)?)?;
            let (offset, size) = (u64_at(row, 24)?, u64_at(row, 32)?);
            let inside = offset.checked_add(size).is_some_and(|end| end <= self.bytes.size());
            (inside && u32_at(row, 4)? != SHT_NOBITS).then_some(())?;
            let name = String::from_utf8_lossy(name).into_owned();
            Some(Section { name, address: u64_at(row, 16)?, offset, size })
        });
        Some(sections.collect())
    }

    /// Whether the file runs at the addresses that it names, and nowhere else.
    pub(crate) fn is_fixed(&self) -> bool {
        self.kind == ET_EXEC
    }

    /// Whether the code is for x86-64, the only machine whose instructions are read so far.
    pub fn is_x86_64(&self) -> bool {
        self.machine == EM_X86_64
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// A section's bytes; `None` when there is no such section.
    pub(crate) fn contents(&self, name: &'static str) -> Result<Option<Vec<u8>>, Unreadable> {
        let Some(section) = self.section(name) else { return Ok(None) };
        within(name, section.size, crate::MAX_TABLE)?;
        self.at_offset(section.offset, section.size).map(Some).ok_or(Unreadable::Malformed(name))
    }

    /// `size` bytes at a file offset.
    pub(crate) fn at_offset(&self, offset: u64, size: u64) -> Option<Vec<u8>> {
        // Checked first: nothing is allocated for bytes that the file does not have.
        if offset.checked_add(size)? > self.bytes.size() {
            return None;
        }
        let mut room = vec![0; usize::try_from(size).ok()?];
        self.bytes.read(offset, &mut room).then_some(room)
    }

    /// Up to `size` bytes at an address, fewer at the end of their segment.
    pub(crate) fn at_address(&self, address: u64, size: u64) -> Option<Vec<u8>> {
        let (segment, inside) = self.find(address)?;
        self.at_offset(segment.offset + inside, size.min(segment.size - inside))
    }

    pub(crate) fn find(&self, address: u64) -> Option<(&Segment, u64)> {
        self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.address)?;
            (inside < segment.size).then_some((segment, inside))
        })
    }

    /// File offset of an address in executable memory: the kernel probes file offsets.
    pub(crate) fn code_offset(&self, address: u64) -> Option<u64> {
        let (segment, inside) = self.find(address)?;
        segment.executable.then_some(segment.offset + inside)
    }

    /// The build id in hexadecimal, empty when the file has none.
    pub fn build_id(&self) -> String {
        let Some(section) = self.section(".note.gnu.build-id") else { return String::new() };
        let note = self.at_offset(section.offset, section.size.min(MAX_NOTE)).unwrap_or_default();
        let id = match (u32_at(&note, 0), u32_at(&note, 4), u32_at(&note, 8)) {
            (Some(4), Some(length), Some(NT_GNU_BUILD_ID)) => {
                note.get(16..).and_then(|rest| rest.get(..(length as usize).min(MAX_BUILD_ID)))
            }
            _ => None,
        };
        id.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name of the file with the debug information, when its symbols were moved there.
    pub fn debug_link(&self) -> Option<String> {
        let section = self.section(".gnu_debuglink")?;
        let bytes = self.at_offset(section.offset, section.size.min(MAX_NOTE))?;
        let name = bytes.get(..bytes.iter().position(|byte| *byte == 0)?)?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }
}

pub(crate) fn within(what: &'static str, size: u64, limit: u64) -> Result<(), Unreadable> {
    if size > limit { Err(Unreadable::TooLarge { what, size, limit }) } else { Ok(()) }
}
