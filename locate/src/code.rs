//! Reading x86-64 code with a real disassembler.

use std::{collections::BTreeSet, ops::Range};

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use crate::elf::Elf;

/// Largest function read, bytes.
pub(crate) const MAX_FUNCTION: u64 = 64 << 10;
/// Instructions looked at for a cheaper probe site.
const SITE_STEPS: usize = 8;
/// Bytes read for the same.
const SITE_BYTES: u64 = 128;
/// Bytes before an address from which code is read to see whether it leads there.
const BEFORE: u64 = 96;
/// One in so many of them has to lead there: also where tables of constants stand before a function.
const LEAD: usize = 4;
/// Instructions followed from a call to the returns behind it.
const MAX_WAY: usize = 4096;
/// Returns behind one call.
const MAX_RETURNS: usize = 16;
/// Registers that hold the arguments and the stack pointer.
const ENTRY_STATE: [Register; 7] =
    [Register::RSP, Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// The instructions of `range`; `None` when one of them is none, or the range is not all in the file.
pub(crate) fn instructions(elf: &Elf<'_>, range: &Range<u64>) -> Option<Vec<Instruction>> {
    let size = range.end.checked_sub(range.start)?;
    if size > MAX_FUNCTION || !elf.is_x86_64() {
        return None;
    }
    let bytes = elf.at_address(range.start, size)?;
    if (bytes.len() as u64) < size {
        return None;
    }
    let all: Vec<_> = Decoder::with_ip(64, &bytes, range.start, DecoderOptions::NONE).into_iter().collect();
    all.iter().all(|one| !one.is_invalid()).then_some(all)
}

/// A function in code without unwind tables: from `start` to the trap bytes that fill the room after it.
pub(crate) fn until_filling(elf: &Elf<'_>, start: u64) -> Option<Range<u64>> {
    let bytes = elf.at_address(start, MAX_FUNCTION)?;
    for one in Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE) {
        if one.is_invalid() {
            return None;
        }
        if one.code() == Code::Int3 {
            return (one.ip() > start).then_some(start..one.ip());
        }
    }
    None
}

/// Whether the code before `address` leads to it rather than over it. x86 code that is read from a wrong place
/// falls into step after a few instructions: from most bytes before a boundary decoding arrives at it, from few
/// at the inside of an instruction. Where nothing is before it, and for other processors, true.
pub(crate) fn is_in_step(elf: &Elf<'_>, address: u64) -> bool {
    let start = address.saturating_sub(BEFORE);
    let Some(bytes) = elf.at_address(start, BEFORE).filter(|_| elf.is_x86_64()) else { return true };
    let arrives = |from: &usize| {
        let mut decoder = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE);
        let mut one = Instruction::default();
        let placed = decoder.set_position(*from).is_ok();
        while placed && decoder.can_decode() {
            decoder.decode_out(&mut one);
        }
        // One that is cut off at the end would have gone on behind `address`.
        placed && !one.is_invalid()
    };
    (0..bytes.len()).filter(arrives).count() * LEAD >= bytes.len()
}

/// Where to probe the function at `entry`: the first instruction that the kernel emulates instead of
/// single-stepping it (six times cheaper), if every call passes it while stack pointer and arguments are
/// those of the entry; else the entry. A return probe may stand there too: the return address is on top
/// of the stack.
pub(crate) fn cheap_site(elf: &Elf<'_>, entry: u64) -> u64 {
    if !elf.is_x86_64() {
        return entry;
    }
    let Some(bytes) = elf.at_address(entry, SITE_BYTES) else { return entry };
    let mut info = InstructionInfoFactory::new();
    for one in Decoder::with_ip(64, &bytes, entry, DecoderOptions::NONE).into_iter().take(SITE_STEPS) {
        if is_emulated(&one) {
            return one.ip();
        }
        let harmless = !one.is_invalid() && one.flow_control() == FlowControl::Next;
        let keeps =
            info.info(&one).used_registers().iter().all(|used| {
                !writes(used.access()) || !ENTRY_STATE.contains(&used.register().full_register())
            });
        if !harmless || !keeps {
            return entry;
        }
    }
    entry
}

/// What `arch/x86/kernel/uprobes.c` emulates: pushes of a register, relative jumps. Not calls, whose
/// target would see the probe's stack; never a five-byte nop, which the kernel may rewrite to a call that
/// overwrites what lies below the stack pointer.
fn is_emulated(one: &Instruction) -> bool {
    matches!(one.code(), Code::Push_r64 | Code::Nopd)
        || (one.mnemonic() != Mnemonic::Xbegin
            && matches!(one.flow_control(), FlowControl::ConditionalBranch)
            && one.is_jcc_short_or_near())
}

pub(crate) fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

fn reads(access: OpAccess) -> bool {
    matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// Whether the code takes `register` as an argument: on some way from the entry it is read before it is
/// written and before a call.
pub(crate) fn takes(code: &[Instruction], register: Register) -> bool {
    let mut info = InstructionInfoFactory::new();
    let mut seen = vec![false; code.len()];
    let mut ways = vec![0];
    while let Some(at) = ways.pop() {
        let (Some(one), Some(seen)) = (code.get(at), seen.get_mut(at)) else { continue };
        if std::mem::replace(seen, true) {
            continue;
        }
        // Clearing a register by itself counts as writing in the disassembler.
        let mut used = info.info(one).used_registers().iter();
        if let Some(used) = used.find(|used| used.register().full_register() == register) {
            if reads(used.access()) {
                return true;
            }
            continue;
        }
        let target = code.binary_search_by_key(&one.near_branch_target(), Instruction::ip);
        match one.flow_control() {
            FlowControl::Next => ways.push(at + 1),
            FlowControl::ConditionalBranch => {
                ways.push(at + 1);
                ways.extend(target);
            }
            FlowControl::UnconditionalBranch => ways.extend(target),
            _ => {}
        }
    }
    false
}

/// The address that an instruction puts into a register: relative to itself, or a 32-bit constant.
pub(crate) fn address(one: &Instruction) -> Option<(Register, u64)> {
    let address = if one.mnemonic() == Mnemonic::Lea && one.is_ip_rel_memory_operand() {
        one.ip_rel_memory_address()
    } else if one.code() == Code::Mov_r32_imm32 {
        u64::from(one.immediate32())
    } else {
        return None;
    };
    Some((one.op0_register().full_register(), address))
}

/// The register that an instruction puts `wanted` into.
pub(crate) fn names(one: &Instruction, wanted: u64) -> Option<Register> {
    address(one).filter(|(_, address)| *address == wanted).map(|(register, _)| register)
}

/// `mov r32, constant`, or clearing a register by itself: the register and its value.
pub(crate) fn constant(one: &Instruction) -> Option<(Register, u32)> {
    match one.code() {
        Code::Mov_r32_imm32 => Some((one.op0_register().full_register(), one.immediate32())),
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32
            if one.op0_kind() == OpKind::Register && one.op0_register() == one.op1_register() =>
        {
            Some((one.op0_register().full_register(), 0))
        }
        _ => None,
    }
}

/// Offset and size of the memory that an instruction writes or reads through a pointer that is not the stack's.
pub(crate) fn heap_access(one: &Instruction, info: &mut InstructionInfoFactory) -> Vec<(u64, usize, bool)> {
    info.info(one)
        .used_memory()
        .iter()
        .filter(|memory| {
            !matches!(memory.base(), Register::RSP | Register::RBP | Register::RIP | Register::None)
        })
        .map(|memory| (memory.displacement(), memory.memory_size().size(), writes(memory.access())))
        .collect()
}

/// The return instructions in `code`; `None` when it can leave in another way that a probe would miss.
pub(crate) fn returns(code: &[Instruction], range: &Range<u64>) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    for one in code {
        match one.flow_control() {
            FlowControl::Return => found.push(one.ip()),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
                if !range.contains(&one.near_branch_target()) =>
            {
                return None;
            }
            FlowControl::IndirectBranch => return None,
            _ => {}
        }
    }
    (!found.is_empty()).then_some(found)
}

/// What the third argument is compared with among the first `steps` instructions at `start`.
pub(crate) fn compared_length(elf: &Elf<'_>, start: u64, steps: usize) -> Option<u64> {
    let bytes = elf.at_address(start, SITE_BYTES)?;
    let mut first = Decoder::with_ip(64, &bytes, start, DecoderOptions::NONE).into_iter().take(steps);
    let compare = first.find(|one| {
        one.mnemonic() == Mnemonic::Cmp
            && one.op0_register() == Register::RDX
            && one.op1_kind() != OpKind::Register
    })?;
    Some(compare.immediate(1))
}

/// The return instructions that are reached behind the call at `call`, by following every jump; `None` when
/// there is none nearby, or too many ways.
pub(crate) fn returns_after(elf: &Elf<'_>, call: u64) -> Option<Vec<u64>> {
    let (segment, _) = elf.find(call)?;
    let from = call.saturating_sub(MAX_FUNCTION / 2).max(segment.address);
    let bytes = elf.at_address(from, MAX_FUNCTION)?;
    let mut decoder = Decoder::with_ip(64, &bytes, from, DecoderOptions::NONE);
    let mut at = |address: u64| {
        decoder.set_position(usize::try_from(address.checked_sub(from)?).ok()?).ok()?;
        decoder.set_ip(address);
        Some(decoder.decode())
    };
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut ways = vec![at(call).filter(Instruction::is_call_near)?.next_ip()];
    while let Some(address) = ways.pop() {
        if !seen.insert(address) {
            continue;
        }
        let one = at(address).filter(|one| !one.is_invalid() && seen.len() <= MAX_WAY)?;
        match one.flow_control() {
            FlowControl::Return => found.push(address),
            FlowControl::UnconditionalBranch => ways.push(one.near_branch_target()),
            FlowControl::ConditionalBranch => ways.extend([one.near_branch_target(), one.next_ip()]),
            FlowControl::Next => ways.push(one.next_ip()),
            // What does not come back is followed by the start of another function.
            FlowControl::Call | FlowControl::IndirectCall => {
                let next = at(one.next_ip())?;
                if next.code() != Code::Push_r64 || next.op0_register() != Register::RBP {
                    ways.push(next.ip());
                }
            }
            FlowControl::Interrupt | FlowControl::Exception => {}
            _ => return None,
        }
    }
    (!found.is_empty() && found.len() <= MAX_RETURNS).then_some(found)
}
