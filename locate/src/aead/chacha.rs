//! ChaCha20-Poly1305, one record a call (crypto/cipher_extra/asm/chacha20_poly1305_x86_64.pl): BoringSSL, AWS-LC, ring.
//!
//! Two functions, or two each for SSE4.1 and AVX2: (output, input, length, additional data, its length, parameters). The
//! parameters begin with the key, the counter and the nonce; the encrypting function also takes from them how many bytes
//! were encrypted before, which tells the two apart.

use iced_x86::{Instruction, Register};

use super::Code;
use crate::{Abi, Elf, Function, Library, Role, code};

/// The bits of a Poly1305 key that count (RFC 8439 2.5), and all of the other half.
pub(super) const CLAMP: [u8; 32] = [
    0xff, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, 0xfc, 0xff, 0xff, 0x0f, //
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];
/// What ChaCha20 begins with (RFC 8439 2.3), and how far before the other it stands.
pub(super) const SIGMA: &[u8] = b"expand 32-byte kexpand 32-byte k";
pub(super) const BEFORE: u64 = 160;
/// Longest way from a reference back to the entry, bytes.
const MAX_BACK: u64 = 0x100;
/// Instructions from the entry to where the parameters are loaded, on every way.
const STEPS: usize = 96;
/// Where in the parameters are both halves of the key, counter and nonce, and how much was encrypted before.
const LOADED: [u64; 3] = [0, 16, 32];
const EXTRA: u64 = 56;

pub(super) fn constants(anchor: u64) -> Vec<u64> {
    vec![anchor.saturating_sub(BEFORE)]
}

pub(super) fn functions(read: &Code<'_>, anchors: &[u64]) -> Vec<Function> {
    let elf = read.elf;
    let mut found = Vec::new();
    for sigma in anchors.iter().flat_map(|anchor| constants(*anchor)) {
        if elf.at_address(sigma, SIGMA.len() as u64).as_deref() != Some(SIGMA) {
            continue;
        }
        let called = read.called_before(&[sigma], MAX_BACK);
        let own: Vec<Function> = called.into_keys().filter_map(|start| function(elf, start, sigma)).collect();
        // Without the one that encrypts, no key would ever be bound.
        if [Role::Read, Role::Write].into_iter().all(|role| own.iter().any(|one| one.role == role)) {
            found.extend(own);
        }
    }
    found
}

fn function(elf: &Elf<'_>, start: u64, sigma: u64) -> Option<Function> {
    let code = code::reached(elf, start, STEPS);
    let loads = |at: u64| code.iter().any(|one| is_load(one, at));
    if !code::refers(&code, sigma) || !LOADED.into_iter().all(loads) {
        return None;
    }
    let role = if loads(EXTRA) { Role::Write } else { Role::Read };
    let returns = code::returns_from(elf, start)?;
    let found = super::function(elf, start, &returns, role, Abi::Poly)?;
    Some(Function { library: Library::ChaCha20Poly1305, ..found })
}

/// Whether an instruction has the parameters at `at` as operand: they are the sixth argument.
fn is_load(one: &Instruction, at: u64) -> bool {
    one.memory_base() == Register::R9
        && one.memory_index() == Register::None
        && one.memory_displacement64() == at
}
