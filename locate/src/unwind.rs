//! Function bounds out of the unwind tables (`.eh_frame_hdr`: Linux Standard Base 5.0, core, 10.6).

use std::ops::Range;

use crate::elf::{Elf, u32_at};

/// Functions in the table; the largest executables have some hundred thousand.
const MAX_FUNCTIONS: u32 = 4 << 20;
/// Version 1, pointer relative to itself, count as it is, table relative to the section: what all linkers write.
const HEADER: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

/// Looks up functions.
pub(crate) struct Unwind<'a> {
    elf: &'a Elf<'a>,
    header: u64,
    count: u32,
}

impl<'a> Unwind<'a> {
    /// `None` when the file has no sorted table.
    pub(crate) fn of(elf: &'a Elf<'a>) -> Option<Self> {
        let header = elf.section(".eh_frame_hdr")?.address;
        let bytes = elf.at_address(header, 12)?;
        let count = u32_at(&bytes, 8)?;
        (bytes.starts_with(&HEADER) && count > 0 && count <= MAX_FUNCTIONS).then_some(Self {
            elf,
            header,
            count,
        })
    }

    fn row(&self, index: u32) -> Option<(u64, u64)> {
        let row = self.elf.at_address(self.header + 12 + u64::from(index) * 8, 8)?;
        let relative = |at| Some(self.header.wrapping_add_signed(i64::from(u32_at(&row, at)?.cast_signed())));
        Some((relative(0)?, relative(4)?))
    }

    /// Whether a function begins at `address`; nothing when the table has none there.
    pub(crate) fn starts_at(&self, address: u64) -> Option<bool> {
        self.around(address).map(|function| function.start == address)
    }

    /// The function, or part of a function with its own entry in the table, that has code at `address`.
    pub(crate) fn around(&self, address: u64) -> Option<Range<u64>> {
        let (mut low, mut high) = (0, self.count);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.row(middle)?.0 <= address { low = middle } else { high = middle }
        }
        let (start, entry) = self.row(low)?;
        // Length, CIE, then start (relative to itself) and size: proven by the start being the same.
        let fde = self.elf.at_address(entry, 16)?;
        let relative = i64::from(u32_at(&fde, 8)?.cast_signed());
        let end = start.checked_add(u64::from(u32_at(&fde, 12)?))?;
        let agrees = entry.wrapping_add(8).wrapping_add_signed(relative) == start;
        (agrees && (start..end).contains(&address)).then_some(start..end)
    }
}
