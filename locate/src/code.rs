//! Reading x86-64 code with a real disassembler.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

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
/// Instructions followed from a call to the returns behind it: both variants of a cipher in one function have 5,000.
const MAX_WAY: usize = 8192;
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
/// those of the entry; else the first that it accepts at all. A return probe may stand there too: the
/// return address is on top of the stack.
pub(crate) fn cheap_site(elf: &Elf<'_>, entry: u64) -> u64 {
    if !elf.is_x86_64() {
        return entry;
    }
    let Some(bytes) = elf.at_address(entry, SITE_BYTES) else { return entry };
    let mut info = InstructionInfoFactory::new();
    let mut accepted = None;
    for one in Decoder::with_ip(64, &bytes, entry, DecoderOptions::NONE).into_iter().take(SITE_STEPS) {
        if is_emulated(&one) {
            return one.ip();
        }
        let own = bytes.get((one.ip() - entry) as usize..).unwrap_or_default();
        if !one.is_invalid() && !is_refused(own) {
            accepted = accepted.or(Some(one.ip()));
        }
        let harmless = !one.is_invalid() && one.flow_control() == FlowControl::Next;
        let keeps =
            info.info(&one).used_registers().iter().all(|used| {
                !writes(used.access()) || !ENTRY_STATE.contains(&used.register().full_register())
            });
        if !harmless || !keeps {
            break;
        }
    }
    accepted.unwrap_or(entry)
}

/// Whether `arch/x86/kernel/uprobes.c` may refuse the instruction: it takes the opcode behind a VEX or EVEX
/// prefix for one without, and knows what of these cannot be single-stepped, as `outs` (0x6f), which behind a
/// prefix is a move. The breakpoint is then silently missing. Accepted for sure are the opcodes of arithmetic,
/// `push` and `pop`.
fn is_refused(bytes: &[u8]) -> bool {
    let opcode = match bytes {
        [0xc5, _, opcode, ..] | [0xc4, _, _, opcode, ..] | [0x62, _, _, _, opcode, ..] => *opcode,
        _ => return false,
    };
    let accepted = (opcode < 0x40 && opcode & 7 < 6) || (0x50..0x60).contains(&opcode);
    !accepted
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

/// What the first comparison of the third argument with a constant among `code` compares it with.
pub(crate) fn compared_length(code: &[Instruction]) -> Option<u64> {
    let compare = code.iter().find(|one| {
        one.mnemonic() == Mnemonic::Cmp
            && one.op0_register() == Register::RDX
            && one.op1_kind() != OpKind::Register
            && one.op1_kind() != OpKind::Memory
    })?;
    Some(compare.immediate(1))
}

/// The argument that is a key schedule of AES: the pointer whose 32-bit number at 240, the rounds
/// (`AES_KEY` of openssl/aes.h), is read first in `code`.
pub(crate) fn key_schedule(code: &[Instruction]) -> Option<Register> {
    const ROUNDS: u64 = 240;
    let rounds = code.iter().find(|one| {
        one.code() == Code::Mov_r32_rm32
            && one.op1_kind() == OpKind::Memory
            && one.memory_index() == Register::None
            && one.memory_displacement64() == ROUNDS
    })?;
    Some(rounds.memory_base())
}

/// Whether an instruction of `code` has the constant at `address` as operand, or takes its address.
pub(crate) fn refers(code: &[Instruction], address: u64) -> bool {
    code.iter().any(|one| one.is_ip_rel_memory_operand() && one.ip_rel_memory_address() == address)
}

/// The return instructions that are reached behind the call at `call`, by following every jump; `None` when
/// there is none nearby, or too many ways.
pub(crate) fn returns_after(elf: &Elf<'_>, call: u64) -> Option<Vec<u64>> {
    let is_call = |one: &Instruction| one.is_call_near() || one.is_call_near_indirect();
    let behind = Way::around(elf, call)?.at(call).filter(is_call)?.next_ip();
    returns_from(elf, behind)
}

/// The same for what is reached from the instruction at `start`.
pub(crate) fn returns_from(elf: &Elf<'_>, start: u64) -> Option<Vec<u64>> {
    let way = Way::around(elf, start)?;
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut ways = vec![start];
    while let Some(address) = ways.pop() {
        if !seen.insert(address) {
            continue;
        }
        let one = way.at(address).filter(|_| seen.len() <= MAX_WAY)?;
        match one.flow_control() {
            FlowControl::Return => found.push(address),
            FlowControl::UnconditionalBranch => ways.push(one.near_branch_target()),
            FlowControl::ConditionalBranch => ways.extend([one.near_branch_target(), one.next_ip()]),
            FlowControl::Next => ways.push(one.next_ip()),
            // What does not come back is followed by the start of another function.
            FlowControl::Call | FlowControl::IndirectCall => {
                let next = way.at(one.next_ip())?;
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

/// The first `limit` instructions that are reached from `start`, nearest first, by following every jump as far
/// as it stays nearby; calls are passed over. Empty when one of them is none.
pub(crate) fn reached(elf: &Elf<'_>, start: u64, limit: usize) -> Vec<Instruction> {
    let Some(way) = Way::around(elf, start) else { return Vec::new() };
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    let mut ways = VecDeque::from([start]);
    while let Some(address) = ways.pop_front() {
        if found.len() >= limit || !way.holds(address) || !seen.insert(address) {
            continue;
        }
        let Some(one) = way.at(address) else { return Vec::new() };
        match one.flow_control() {
            FlowControl::UnconditionalBranch => ways.push_back(one.near_branch_target()),
            FlowControl::ConditionalBranch => ways.extend([one.next_ip(), one.near_branch_target()]),
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {
                ways.push_back(one.next_ip());
            }
            _ => {}
        }
        found.push(one);
    }
    found
}

/// Code around an address, decoded at any place.
struct Way {
    bytes: Vec<u8>,
    from: u64,
}

impl Way {
    fn around(elf: &Elf<'_>, address: u64) -> Option<Self> {
        let (segment, _) = elf.find(address)?;
        let from = address.saturating_sub(MAX_FUNCTION / 2).max(segment.address);
        Some(Self { bytes: elf.at_address(from, MAX_FUNCTION)?, from })
    }

    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.from).is_some_and(|inside| inside < self.bytes.len() as u64)
    }

    /// The instruction at `address`; `None` when there is none.
    fn at(&self, address: u64) -> Option<Instruction> {
        let inside = usize::try_from(address.checked_sub(self.from)?).ok()?;
        let bytes = self.bytes.get(inside..)?;
        let one = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        (!one.is_invalid()).then_some(one)
    }
}
