//! Searching data for texts, and code for what refers to an address.

use crate::elf::{Elf, Segment, u32_at};

/// Bytes looked at in one go.
const WINDOW: usize = 1 << 20;
/// Bytes of the next window seen together with one, so that nothing is cut: more than any needle.
const OVERLAP: usize = 256;
/// Places remembered of one search.
const MAX_FOUND: usize = 4096;

/// Gives the bytes of a segment in windows: address, bytes, and how many of them are this window's own.
fn windows(elf: &Elf<'_>, segment: &Segment, mut each: impl FnMut(u64, &[u8], usize)) {
    let mut done = 0;
    while done < segment.size {
        let own = (segment.size - done).min(WINDOW as u64);
        let size = (segment.size - done).min((WINDOW + OVERLAP) as u64);
        let Some(bytes) = elf.at_offset(segment.offset + done, size) else { return };
        each(segment.address + done, &bytes, own as usize);
        done += own;
    }
}

/// Where constants are: the section of that name, or, without sections, whatever is not written.
fn constants(elf: &Elf<'_>) -> Vec<Segment> {
    let named = elf.section(".rodata").and_then(|section| {
        let (segment, inside) = elf.find(section.address)?;
        let whole = section.size <= segment.size - inside && section.offset == segment.offset + inside;
        whole.then_some(Segment {
            offset: section.offset,
            address: section.address,
            size: section.size,
            ..*segment
        })
    });
    match named {
        Some(section) => vec![section],
        None => elf.segments().iter().filter(|segment| !segment.writable).copied().collect(),
    }
}

/// Addresses of every one of `needles` in data that is not written, by needle.
pub(crate) fn texts(elf: &Elf<'_>, needles: &[&[u8]]) -> Vec<Vec<u64>> {
    let mut found = vec![Vec::new(); needles.len()];
    let mut first = [false; 256];
    for needle in needles {
        if let Some(byte) = needle.first() {
            first[usize::from(*byte)] = true;
        }
    }
    for segment in &constants(elf) {
        windows(elf, segment, |address, bytes, own| {
            for (at, byte) in bytes.iter().enumerate().take(own) {
                if !first[usize::from(*byte)] {
                    continue;
                }
                let rest = bytes.get(at..).unwrap_or_default();
                for (needle, places) in needles.iter().zip(&mut found) {
                    if rest.starts_with(needle) && places.len() < MAX_FOUND {
                        places.push(address + at as u64);
                    }
                }
            }
        });
    }
    found
}

/// Addresses near instructions that take one of `targets` (x86-64): `lea` with the address relative to the
/// instruction, or a move of the absolute address. Disassembly has to prove each.
pub(crate) fn references(elf: &Elf<'_>, targets: &[u64]) -> Vec<u64> {
    let mut found = Vec::new();
    let (Some(low), Some(high)) = (targets.iter().min(), targets.iter().max()) else { return found };
    let absolute = u32::try_from(*high).is_ok();
    for segment in elf.segments().iter().filter(|segment| segment.executable) {
        windows(elf, segment, |address, bytes, own| {
            for (at, pair) in bytes.windows(2).enumerate().take(own) {
                let [opcode, modrm] = *pair else { continue };
                let (here, target) = if opcode == 0x8d && modrm & 0xc7 == 0x05 {
                    let Some(displacement) = u32_at(bytes, at + 2) else { continue };
                    let next = address + at as u64 + 6;
                    (
                        (address + at as u64).wrapping_sub(1),
                        next.wrapping_add_signed(i64::from(displacement.cast_signed())),
                    )
                } else if absolute && opcode & 0xf8 == 0xb8 {
                    let Some(value) = u32_at(bytes, at + 1) else { continue };
                    (address + at as u64, u64::from(value))
                } else {
                    continue;
                };
                if target >= *low && target <= *high && targets.contains(&target) && found.len() < MAX_FOUND {
                    found.push(here);
                }
            }
        });
    }
    found
}

/// Whether a near call leads to `start`.
pub(crate) fn is_called(elf: &Elf<'_>, start: u64) -> bool {
    let range = start..start.saturating_add(1);
    !calls_into(elf, std::slice::from_ref(&range)).is_empty()
}

/// Where near calls (x86-64 `call rel32`) lead that lead into one of `ranges`: (call, target), by target.
pub(crate) fn calls_into(elf: &Elf<'_>, ranges: &[std::ops::Range<u64>]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let low = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let high = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    for segment in elf.segments().iter().filter(|segment| segment.executable) {
        windows(elf, segment, |address, bytes, own| {
            for (at, byte) in bytes.iter().enumerate().take(own) {
                if *byte != 0xe8 {
                    continue;
                }
                let Some(displacement) = u32_at(bytes, at + 1) else { continue };
                let here = address + at as u64;
                let target = (here + 5).wrapping_add_signed(i64::from(displacement.cast_signed()));
                if target >= low
                    && target < high
                    && found.len() < MAX_FOUND
                    && ranges.iter().any(|range| range.contains(&target))
                {
                    found.push((here, target));
                }
            }
        });
    }
    found.sort_unstable_by_key(|(call, target)| (*target, *call));
    found
}
