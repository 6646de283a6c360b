//! Searching data for texts, and code for what refers to an address.

use std::{collections::BTreeMap, ops::Range};

use crate::elf::{Elf, Segment};

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

/// Bytes of code that are looked at together.
const BLOCK: usize = 256;
/// Wanted addresses that are nearer to each other are searched for together, bytes.
const NEAR: u64 = 1 << 16;
/// Groups of them searched for at once; more are one.
const MAX_GROUPS: usize = 8;

/// Gives the code in blocks that overlap by three bytes: address and bytes.
fn blocks(elf: &Elf<'_>, mut each: impl FnMut(u64, &[u8])) {
    for segment in elf.segments().iter().filter(|segment| segment.executable) {
        windows(elf, segment, |address, bytes, own| {
            for start in (0..own).step_by(BLOCK) {
                let end = ((start + BLOCK).min(own) + 3).min(bytes.len());
                each(address + start as u64, bytes.get(start..end).unwrap_or_default());
            }
        });
    }
}

/// Gives every place in code whose four bytes, taken as a displacement from behind them, lead into or near one of
/// `wanted`: its address, and where it leads.
fn displacements(elf: &Elf<'_>, wanted: &[Range<u64>], mut each: impl FnMut(u64, u64)) {
    let groups = groups(wanted);
    if groups.is_empty() {
        return;
    }
    blocks(elf, |here, block| leading(here, block, &groups, &mut each));
}

/// The same for one block.
fn leading(here: u64, block: &[u8], groups: &[Range<u64>], each: &mut impl FnMut(u64, u64)) {
    let may = |group: &Range<u64>| {
        may_be_in(block, here.wrapping_add(4).wrapping_sub(group.start) as u32, 1, group)
    };
    if !groups.iter().any(may) {
        return;
    }
    for (at, four) in (here..).zip(block.windows(4)) {
        let displacement = four.try_into().map(i32::from_le_bytes).unwrap_or_default();
        let target = at.wrapping_add(4).wrapping_add_signed(i64::from(displacement));
        if groups.iter().any(|group| group.contains(&target)) {
            each(at, target);
        }
    }
}

/// Gives every place in a block whose four bytes are an address in `group`.
fn holding(here: u64, block: &[u8], group: &Range<u64>, each: &mut impl FnMut(u64, u64)) {
    if !may_be_in(block, 0u32.wrapping_sub(group.start as u32), 0, group) {
        return;
    }
    for (at, four) in (here..).zip(block.windows(4)) {
        let value = u64::from(four.try_into().map(u32::from_le_bytes).unwrap_or_default());
        if group.contains(&value) {
            each(at, value);
        }
    }
}

/// What spans `wanted`, few and apart.
fn groups(wanted: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut groups: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match groups.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(NEAR) => last.end = last.end.max(range.end),
            _ => groups.push(range),
        }
    }
    if let Some(end) = groups.last().map(|last| last.end).filter(|_| groups.len() > MAX_GROUPS) {
        groups.truncate(1);
        groups.iter_mut().for_each(|first| first.end = end);
    }
    groups
}

/// Whether some four bytes of `block`, with `first` and their place times `step` added, may lie in `group`, counted from
/// its start. Modulo 2 to the power of 32, so what is in it comes through, and without a way out of the loop, so that
/// many are compared at once.
fn may_be_in(block: &[u8], first: u32, step: u32, group: &Range<u64>) -> bool {
    let Ok(size) = u32::try_from(group.end.saturating_sub(group.start)) else { return true };
    let mut may = false;
    for phase in 0..4 {
        let words = block.get(phase..).unwrap_or_default().chunks_exact(4);
        let mut place = first.wrapping_add(phase as u32 * step);
        for word in words {
            let value = word.try_into().map(u32::from_le_bytes).unwrap_or_default();
            may |= value.wrapping_add(place) < size;
            place = place.wrapping_add(4 * step);
        }
    }
    may
}

/// Ranges of one address each.
fn single(addresses: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    addresses.into_iter().map(|address| address..address.saturating_add(1)).collect()
}

/// The `N` bytes before an address in code.
fn before<const N: usize>(elf: &Elf<'_>, address: u64) -> [u8; N] {
    let bytes = elf.at_address(address.wrapping_sub(N as u64), N as u64).unwrap_or_default();
    bytes.try_into().unwrap_or([0; N])
}

/// Addresses near instructions that take one of `targets` (x86-64): `lea` with the address relative to the
/// instruction, or, in a file that is not moved, a move of the absolute address. Disassembly has to prove each.
pub(crate) fn references(elf: &Elf<'_>, targets: &[u64]) -> Vec<u64> {
    let wanted = single(targets.iter().copied());
    let groups = groups(&wanted);
    let all = match (groups.first(), groups.last()) {
        (Some(first), Some(last)) if elf.is_fixed() => Some(first.start..last.end),
        _ => None,
    };
    let mut found = Vec::new();
    let mut take = |at: u64, target, is_one: &dyn Fn() -> bool| {
        if targets.contains(&target) && is_one() && found.len() < MAX_FOUND {
            found.push(at);
        }
    };
    blocks(elf, |here, block| {
        leading(here, block, &groups, &mut |at, target| {
            let is_lea = || matches!(before(elf, at), [0x8d, modrm] if modrm & 0xc7 == 0x05);
            take(at.wrapping_sub(3), target, &is_lea);
        });
        if let Some(all) = &all {
            holding(here, block, all, &mut |at, value| {
                take(at.wrapping_sub(1), value, &|| matches!(before(elf, at), [one] if one & 0xf8 == 0xb8));
            });
        }
    });
    found
}

/// Addresses inside instructions that have one of `targets` as operand relative to the instruction, and which
/// (x86-64): whatever the instruction, its displacement ends it, or is followed by one more byte.
/// Disassembly has to prove each.
pub(crate) fn operands(elf: &Elf<'_>, targets: &[u64]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let near =
        targets.iter().map(|target| target.saturating_sub(1)..target.saturating_add(1)).collect::<Vec<_>>();
    displacements(elf, &near, |at, target| {
        for target in [target, target.wrapping_add(1)] {
            if targets.contains(&target) && found.len() < MAX_FOUND {
                found.push((at, target));
            }
        }
    });
    found
}

/// Whether a near call leads to `start`, or the linker left a pointer to it, as for what is called through a register.
pub(crate) fn is_called(elf: &Elf<'_>, start: u64) -> bool {
    let range = start..start.saturating_add(1);
    !slots(elf, |target| target == start).is_empty()
        || !calls_into(elf, std::slice::from_ref(&range)).is_empty()
}

/// Where near calls (x86-64) lead that lead into one of `ranges`, directly or through a pointer of the global
/// offset table, as Rust calls C: (call, target), by target.
pub(crate) fn calls_into(elf: &Elf<'_>, ranges: &[Range<u64>]) -> Vec<(u64, u64)> {
    let is_in = inside(ranges);
    let slots = slots(elf, &is_in);
    let (direct, through) = (groups(ranges), groups(&single(slots.keys().copied())));
    let mut found = Vec::new();
    if direct.is_empty() {
        return found;
    }
    blocks(elf, |here, block| {
        leading(here, block, &direct, &mut |at, target| {
            if is_in(target) && before(elf, at) == [0xe8] && found.len() < MAX_FOUND {
                found.push((at.wrapping_sub(1), target));
            }
        });
        leading(here, block, &through, &mut |at, slot| {
            if let Some(target) = slots.get(&slot)
                && before(elf, at) == [0xff, 0x15]
                && found.len() < MAX_FOUND
            {
                found.push((at.wrapping_sub(2), *target));
            }
        });
    });
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
            each(section.address.wrapping_add(done + index as u64 * row), numbers);
        }
        done += window;
    }
}
