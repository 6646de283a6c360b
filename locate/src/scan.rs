//! Searching data for texts, and code for what refers to an address.

use std::{collections::BTreeMap, ops::Range};

use crate::elf::{Elf, Segment, u32_at};

/// Bytes looked at in one go.
const WINDOW: usize = 1 << 20;
/// Bytes of the next window seen together with one, so that nothing is cut: more than any needle.
const OVERLAP: usize = 256;
/// Places remembered of one search.
const MAX_FOUND: usize = 4096;
/// A relocation that adds the load address (System V ABI for x86-64, 4.4.1).
const R_X86_64_RELATIVE: u64 = 8;

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

/// Addresses inside instructions that have one of `targets` as operand relative to the instruction, and which
/// (x86-64): whatever the instruction, its displacement ends it, or is followed by one more byte.
/// Disassembly has to prove each.
pub(crate) fn operands(elf: &Elf<'_>, targets: &[u64]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let (Some(low), Some(high)) = (targets.iter().min(), targets.iter().max()) else { return found };
    for segment in elf.segments().iter().filter(|segment| segment.executable) {
        windows(elf, segment, |address, bytes, own| {
            for (at, four) in bytes.windows(4).enumerate().take(own) {
                let displacement = four.try_into().map(i32::from_le_bytes).unwrap_or_default();
                let here = address + at as u64;
                let target = here.wrapping_add(4).wrapping_add_signed(i64::from(displacement));
                for target in [target, target.wrapping_add(1)] {
                    if target >= *low
                        && target <= *high
                        && targets.contains(&target)
                        && found.len() < MAX_FOUND
                    {
                        found.push((here, target));
                    }
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

/// Where near calls (x86-64) lead that lead into one of `ranges`, directly or through a pointer of the global
/// offset table, as Rust calls C: (call, target), by target.
pub(crate) fn calls_into(elf: &Elf<'_>, ranges: &[Range<u64>]) -> Vec<(u64, u64)> {
    let is_in = inside(ranges);
    let slots = slots(elf, &is_in);
    let mut found = Vec::new();
    for segment in elf.segments().iter().filter(|segment| segment.executable) {
        windows(elf, segment, |address, bytes, own| {
            for (at, pair) in bytes.windows(2).enumerate().take(own) {
                let here = address + at as u64;
                let relative = |from: usize| {
                    let displacement = u32_at(bytes, at + from)?.cast_signed();
                    Some((here + from as u64 + 4).wrapping_add_signed(i64::from(displacement)))
                };
                let target = match pair {
                    [0xe8, _] => relative(1).filter(|target| is_in(*target)),
                    [0xff, 0x15] => relative(2).and_then(|slot| slots.get(&slot).copied()),
                    _ => continue,
                };
                if let Some(target) = target
                    && found.len() < MAX_FOUND
                {
                    found.push((here, target));
                }
            }
        });
    }
    found.sort_unstable_by_key(|(call, target)| (*target, *call));
    found
}

/// Whether an address is in one of `ranges`.
fn inside(ranges: &[Range<u64>]) -> impl Fn(u64) -> bool {
    let low = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let high = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    move |address| (low..high).contains(&address) && ranges.iter().any(|range| range.contains(&address))
}

/// Pointers to what `is_wanted`, by where they are: those that the loader relocates, and those that stand in the
/// global offset table already.
fn slots(elf: &Elf<'_>, is_wanted: impl Fn(u64) -> bool) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    let mut take = |slot, target| {
        if is_wanted(target) && found.len() < MAX_FOUND {
            found.insert(slot, target);
        }
    };
    for_each(elf, ".rela.dyn", |_, [slot, kind, addend]: [u64; 3]| {
        if kind == R_X86_64_RELATIVE {
            take(slot, addend);
        }
    });
    for_each(elf, ".got", |slot, [target]: [u64; 1]| take(slot, target));
    found
}

/// Gives the rows of `N` words of a section, each with its address.
fn for_each<const N: usize>(elf: &Elf<'_>, name: &str, mut each: impl FnMut(u64, [u64; N])) {
    let Some(section) = elf.section(name) else { return };
    let row = 8 * N as u64;
    let window = WINDOW as u64 / row * row;
    let mut done = 0;
    while done < section.size {
        let Some(bytes) = elf.at_offset(section.offset + done, (section.size - done).min(window)) else {
            return;
        };
        for (index, words) in bytes.chunks_exact(8 * N).enumerate() {
            let mut numbers = [0; N];
            for (number, word) in numbers.iter_mut().zip(words.chunks_exact(8)) {
                *number = word.try_into().map(u64::from_le_bytes).unwrap_or_default();
            }
            each(section.address + done + index as u64 * row, numbers);
        }
        done += window;
    }
}
